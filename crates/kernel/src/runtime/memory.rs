//! Linear memories: windows whose end faults.
#![expect(unsafe_code, reason = "wasmtime trusts the memory it is given")]

use crate::mem::window::{Exhausted, Window};
use alloc::boxed::Box;
use alloc::string::{String, ToString};
use ukernel_abi::engine::{MEMORY_GUARD_BYTES, MEMORY_RESERVATION_BYTES};
use wasmtime::{LinearMemory, MemoryCreator, MemoryType};

/// Gives every linear memory a window.
pub(super) struct Windows;

struct WindowMemory {
    window: Window,
    bytes: usize,
}

// SAFETY: a window has 4 GiB of address space at its base and 1 GiB unmapped behind it, more
// than the reservation and guard code is compiled for (checked below), and fresh pages are
// zero.
unsafe impl MemoryCreator for Windows {
    fn new_memory(
        &self,
        _: MemoryType,
        minimum: usize,
        _: Option<usize>,
        reserved: Option<usize>,
        guard: usize,
    ) -> Result<Box<dyn LinearMemory>, String> {
        if reserved.is_some_and(|bytes| bytes as u64 > MEMORY_RESERVATION_BYTES)
            || guard as u64 > MEMORY_GUARD_BYTES
        {
            return Err("unexpected memory settings".to_string());
        }
        let mut window = Window::take().map_err(describe)?;
        window.grow_to(minimum as u64).map_err(describe)?;
        Ok(Box::new(WindowMemory {
            window,
            bytes: minimum,
        }))
    }
}

// SAFETY: the base never moves, and everything below `byte_size` is mapped.
unsafe impl LinearMemory for WindowMemory {
    fn byte_size(&self) -> usize {
        self.bytes
    }

    fn byte_capacity(&self) -> usize {
        MEMORY_RESERVATION_BYTES as usize
    }

    fn grow_to(&mut self, bytes: usize) -> wasmtime::Result<()> {
        self.window
            .grow_to(bytes as u64)
            .map_err(|error| wasmtime::Error::msg(describe(error)))?;
        self.bytes = bytes;
        Ok(())
    }

    fn as_ptr(&self) -> *mut u8 {
        self.window.base() as *mut u8
    }
}

fn describe(error: Exhausted) -> String {
    match error {
        Exhausted::Windows => "no room for another linear memory",
        Exhausted::Memory => "out of memory",
    }
    .to_string()
}
