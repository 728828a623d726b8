//! What the imports of one instance work on.

use crate::execution::Execution;
use crate::local::Local;
use crate::task;
use alloc::string::String;
use alloc::vec::Vec;
use wasmtime::StoreContextMut;
use wasmtime::component::{Resource, ResourceTable};

/// Data of a store.
pub(super) struct State {
    /// Open handles of the instance.
    pub(super) table: ResourceTable,
    /// The execution whose output this is.
    pub(super) execution: Execution,
    /// The program's arguments, its name first.
    pub(super) arguments: Vec<String>,
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            table: ResourceTable::new(),
            execution: Execution::NONE,
            arguments: Vec::new(),
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

static INTERRUPT: Local<bool> = Local::new(false);

/// Asks the running execution to end, or takes the request back.
pub(crate) fn interrupt(wanted: bool) {
    *INTERRUPT.get() = wanted;
    if wanted {
        task::wake_all();
    }
}

/// Whether the running execution was asked to end.
pub(crate) fn is_interrupted() -> bool {
    *INTERRUPT.get()
}

/// Takes a request to end, once.
pub(super) fn take_interrupt() -> bool {
    core::mem::take(&mut *INTERRUPT.get())
}
