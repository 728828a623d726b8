//! The µkernel's own logic, without the machine it runs on.
//!
//! The kernel is an ELF without a standard library and cannot be linked into a test. What of it
//! decides rather than drives a device lives here, and is property-tested on the host:
//!
//! ```text
//!   service     a message of the host and the state -> the next state and effects
//!   execution   one execution from acceptance to its end: interrupt, input, output, host calls
//!   output      what an execution prints: sent up to a bound, whole in a file beyond it
//!   ipc         named message channels between tasks
//!   schedule    which task runs next
//!   files       the file tree in memory, with its quota
//! ```
//! What this crate refuses to do: touch a device, a page table or a global; wait; trust a length.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod command_line;
pub mod execution;
pub mod files;
pub mod ipc;
pub mod output;
pub mod schedule;
pub mod service;
mod surroundings;

pub use surroundings::Surroundings;
