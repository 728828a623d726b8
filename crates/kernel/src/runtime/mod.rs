//! The component runtime: wasmtime, the memory it needs, and what components may import.
//!
//! A component is loaded once, before the page tables are sealed, and instantiated once per
//! task that runs it. Imports come from two places: [`abi`], the whole of what a workload
//! has, and [`wasi`], a shim language runtimes expect, over the same kernel modules.

mod abi;
mod engine;
mod instance;
mod interrupt;
mod memory;
mod state;
pub(crate) mod trap;
mod wasi;

use ukernel_abi::message::Limits;

pub(crate) use abi::configure_spawn;
pub(crate) use engine::{Loaded, load};
pub(crate) use instance::{Instance, RunError};
pub(crate) use interrupt::list_words as list_interrupt_words;

/// What instances may use from now on.
pub(crate) fn limit(limits: &Limits) {
    memory::limit(limits.memory_bytes);
    abi::limit_tasks(limits.tasks);
}
