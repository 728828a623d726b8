//! The seam between "a VM" and "how it is run".
//!
//! A [`Backend`] boots machines and opens templates; a [`Machine`] is one VM with a channel
//! to its guest; a [`Template`] is a VM paused after its runtime is up, from which machines
//! are forked. Three implementations, [`kvm`] (the embedded VMM), [`firecracker`] and [`qemu`], pass one
//! suite of tests. [`guest`] speaks the channel protocol with whatever runs inside.
//!
//! What this crate refuses to do: choose for a caller who chose (an explicit backend is used
//! or refused with the reason), retry, or keep a pool: that is the sandbox's business.
#![forbid(unsafe_code)]

mod backend;
pub mod calls;
mod channel;
mod error;
pub mod file;
pub mod firecracker;
mod greeting;
pub mod guest;
pub mod kvm;
pub mod probe;
mod process;
pub mod qemu;
pub mod saved;
mod spares;
mod starter;
mod usage;

pub use backend::{Backend, BackendKind, Machine, MachineSpec, MachineStats, Template};
pub use channel::Channel;
pub use error::{MachineError, Result};
pub use saved::SavedState;
pub use ukernel_abi::message::Limits;
pub use ukernel_vmm::{Ending, ExitReason, wait};
