//! The µkernel: a guest without Linux that runs one WebAssembly component.
//!
//! It owns the machine it boots on: page tables, one stack per task, the channel's device, a
//! file tree in memory, the clock and the random numbers. It offers a workload the ABI of
//! `ukernel_abi`'s WIT package, and WASI 0.2 as a shim above the same modules. It has no
//! system calls, no processes and no other way in than the channel.
//!
//! Only the [`stub`] runs privileged, a few hundred instructions of assembly. All the rest,
//! this crate's Rust and the compiled workload alike, runs at CPL 3 in one address space
//! whose page tables it cannot change once they are sealed.
//!
//! What it refuses to do: recover from its own faults (it reports and ends the VM), share
//! anything with another VM, or trust the host's frames further than it has checked them.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

mod boot;
mod channel;
mod clock;
mod dev;
mod execution;
mod files;
mod local;
mod mem;
mod random;
mod report;
mod runtime;
mod service;
mod stub;
mod task;

use ukernel_abi::layout::BootPhase;

/// Where the stub enters CPL 3, once, on the kernel stack.
pub(crate) fn start(protocol: u32, info: usize) -> ! {
    let boot = boot::read(protocol, info).unwrap_or_else(|error| report::bad_boot(error));
    dev::platform::configure(boot.embedded);
    dev::platform::phase(BootPhase::UserMode);
    clock::configure(boot.tsc_khz);
    mem::configure(&boot);
    let component = runtime::load(&boot);
    mem::seal();
    dev::platform::phase(BootPhase::Sealed);
    service::run(&boot, component)
}
