//! One VM is one process. [`host`] is the side that owns VMs, [`child`] the process that
//! is one, [`message`] what they say to each other.
//!
//! ```text
//!   host                                  VM process (the program runs itself again)
//!    | -- exec, control socket on fd 0 --> |
//!    | -- Prepare + /dev/kvm ------------> | VM, vCPU, CPUID; then the jail
//!    | <------------------------ Ready --- | blank: does not know yet what to run
//!    | -- Boot or Restore + files -------> |
//!    | <---------------------- Started --- | runs
//!    | -- Pause, Snapshot, Stats ... ----> |
//!    | <----------------------- Exited --- | and is gone
//! ```

pub mod child;
pub mod config;
mod exchange;
pub mod host;
pub mod launcher;
pub mod message;
