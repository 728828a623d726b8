//! Switching stacks: the callee-saved registers of the System V ABI and nothing else.
//! The floating-point control words are the same in every task.
#![expect(unsafe_code, reason = "stack switching")]

use super::stack::Stack;
use alloc::boxed::Box;
use core::arch::naked_asm;

/// Where a task that does not run left off: its stack pointer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context(u64);

type Entry = Box<dyn FnOnce()>;

impl Context {
    /// For the task that runs now; filled in when it is left.
    pub(super) const fn empty() -> Self {
        Self(0)
    }

    /// A task that will call `entry` on `stack`.
    pub(super) fn starting(stack: &Stack, entry: Entry) -> Self {
        let argument = Box::into_raw(Box::new(entry)) as u64;
        // What `swap` pops: r15, r14, r13, r12, rbx, rbp, then the return address.
        // Then padding, so that `run` finds its stack aligned.
        let frame: [u64; 9] = [argument, 0, 0, 0, 0, 0, launch as *const () as u64, 0, 0];
        let at = stack.top() - size_of_val(&frame) as u64;
        // SAFETY: the stack is mapped and not in use; `at` is aligned and inside it.
        unsafe { core::ptr::write(at as *mut [u64; 9], frame) };
        Self(at)
    }
}

/// Leaves the current task at `from` and goes on with `to`. Returns when switched back to.
pub(super) fn switch(from: *mut Context, to: Context) {
    // SAFETY: `to` was made by `starting` or by an earlier call, its stack is mapped, and
    // `from` stays valid: nothing runs between here and the write, and tasks are never moved
    // while the scheduler is borrowed by nobody.
    unsafe { swap(from, to.0) }
}

#[unsafe(naked)]
unsafe extern "sysv64" fn swap(from: *mut Context, to: u64) {
    naked_asm!(
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "mov [rdi], rsp",
        "mov rsp, rsi",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
    )
}

/// First frame of a new task; its argument was put where r15 is popped from.
#[unsafe(naked)]
unsafe extern "sysv64" fn launch() -> ! {
    naked_asm!("mov rdi, r15", "xor ebp, ebp", "call {run}", "ud2", run = sym run)
}

extern "sysv64" fn run(entry: *mut Entry) -> ! {
    // SAFETY: made by `Context::starting`, and a task starts once.
    let entry = unsafe { Box::from_raw(entry) };
    entry();
    super::finish()
}
