//! Everything host and guest agree on, and nothing else.
//!
//! Two contracts live here. The *channel* ([`message`], [`frame`]) is how the host
//! speaks to any guest: length-prefixed postcard frames over one vsock stream. The
//! *ABI surface* is the WIT package in `wit/`, the only interface a workload has.
//! Beside them stand the facts both sides must know to boot: [`layout`] (memory map,
//! ports, command line) and [`image`] (how a workload is packed).
//!
//! What this crate refuses to do: I/O, allocation beyond a frame, trusting a length.
//! Every decoder is total: any bytes give a value or a typed error, never a panic.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod engine;
pub mod exec;
pub mod file;
pub mod frame;
pub mod image;
pub mod interrupt;
pub mod layout;
pub mod message;
pub mod parts;
