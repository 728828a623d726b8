//! What the imports of one instance work on.

use super::memory::largest;
use crate::execution::Running;
use alloc::string::String;
use alloc::vec::Vec;
use wasmtime::StoreContextMut;
use wasmtime::component::{Resource, ResourceTable};

/// Data of a store.
pub(super) struct State {
    /// Open handles of the instance.
    pub(super) table: ResourceTable,
    /// The execution it works for.
    pub(super) execution: Running,
    /// The program's arguments, its name first.
    pub(super) arguments: Vec<String>,
    /// Whether it is the instance that the host's executions run in, not one a program spawned.
    pub(super) is_first: bool,
}

impl State {
    /// The state of an instance that is about to be made.
    pub(super) fn new() -> Self {
        Self {
            table: ResourceTable::new(),
            execution: Running::nobody(),
            arguments: Vec::new(),
            is_first: largest().is_none(),
        }
    }
}

/// The context every import gets.
pub(super) type Context<'a> = StoreContextMut<'a, State>;

/// A handle's destructor: forgets the handle.
pub(super) fn forget<T: Send + 'static>(
    context: &mut Context<'_>,
    handle: u32,
) -> wasmtime::Result<T> {
    Ok(context
        .data_mut()
        .table
        .delete(Resource::<T>::new_own(handle))?)
}

/// Ends an instance from inside an import: the program called exit without unwinding.
#[derive(Debug)]
pub(super) struct ExitNow(pub(super) i32);

impl core::fmt::Display for ExitNow {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(out, "exited with {}", self.0)
    }
}

impl core::error::Error for ExitNow {}
