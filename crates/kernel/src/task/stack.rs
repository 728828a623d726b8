//! Stacks: stretches of one window with unmapped space between them.

use crate::local::Local;
use crate::mem::window::{Exhausted, Window, map_stretch};
use crate::stub::LARGE_PAGE_BYTES;
use ukernel_abi::engine::MAX_STACK_BYTES;

/// What a workload may use, and room for the kernel calls it makes at its deepest.
const STACK_BYTES: u64 = MAX_STACK_BYTES as u64 + LARGE_PAGE_BYTES;

/// From one stack to the next; the difference is the guard.
const STRIDE_BYTES: u64 = STACK_BYTES + (32 << 20);

struct Stacks {
    window: Option<Window>,
    taken: u64,
}

static STACKS: Local<Stacks> = Local::new(Stacks {
    window: None,
    taken: 0,
});

/// A mapped stack, growing downward from its top.
#[derive(Debug)]
pub(super) struct Stack {
    top: u64,
}

impl Stack {
    /// Maps another stack.
    pub(super) fn take() -> Result<Self, Exhausted> {
        let mut stacks = STACKS.get();
        if stacks.window.is_none() {
            stacks.window = Some(Window::take()?);
        }
        let offset = stacks.taken * STRIDE_BYTES;
        let Some(window) = stacks.window.as_ref() else {
            return Err(Exhausted::Windows);
        };
        let start = map_stretch(window, offset, STACK_BYTES)?;
        stacks.taken += 1;
        Ok(Self {
            top: start + STACK_BYTES,
        })
    }

    /// One past the highest byte, 2 MiB aligned.
    pub(super) fn top(&self) -> u64 {
        self.top
    }
}
