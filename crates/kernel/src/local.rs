//! Kernel state that lives for ever and is reached from everywhere.

use core::cell::{RefCell, RefMut};

/// A static value with its borrows checked while running.
///
/// The kernel has one vCPU, tasks that switch only where they ask to, and traps that never
/// return into the code they interrupted. So nothing here is ever reached from two places at
/// once, except by a borrow held across a task switch, which panics.
pub(crate) struct Local<T>(RefCell<T>);

#[expect(
    unsafe_code,
    reason = "statics must be Sync; the kernel has no second thread"
)]
// SAFETY: there is exactly one thread of execution (one vCPU, cooperative tasks).
unsafe impl<T> Sync for Local<T> {}

impl<T> Local<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(RefCell::new(value))
    }

    /// Borrows the value. Not to be held across anything that may switch tasks.
    pub(crate) fn get(&self) -> RefMut<'_, T> {
        self.0.borrow_mut()
    }
}
