//! Linear memories: windows whose end faults.
#![expect(unsafe_code, reason = "wasmtime trusts the memory it is given")]

use crate::local::Local;
use crate::mem::window::{Exhausted, Window};
use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use ukernel_abi::engine::{MEMORY_GUARD_BYTES, MEMORY_RESERVATION_BYTES};
use wasmtime::{LinearMemory, MemoryCreator, MemoryType};

/// Gives every linear memory a window.
pub(super) struct Windows;

/// Linear memories in the order they were made. They live as long as the VM.
static MEMORIES: Local<Vec<Arc<Memory>>> = Local::new(Vec::new());

/// Most bytes of all linear memories together.
static MAX_BYTES: Local<u64> = Local::new(u64::MAX);

const OVER_LIMIT: &str = "the limit of linear memory is reached";

/// Sets what all linear memories together may grow to, in bytes. What there is stays.
pub(super) fn limit(max_bytes: u64) {
    *MAX_BYTES.get() = max_bytes;
}

/// Whether the linear memories may have `more` bytes than they have.
fn may_grow(more: usize) -> bool {
    let memories = MEMORIES.get();
    let present = memories.iter().map(|memory| memory.bytes.load(Relaxed));
    let present = present.fold(0, |sum, bytes| sum + bytes as u64);
    present.saturating_add(more as u64) <= *MAX_BYTES.get()
}

/// The window of a linear memory, and how much of it is the memory.
pub(super) struct Memory {
    window: Local<Window>,
    base: u64,
    bytes: AtomicUsize,
}

impl Memory {
    /// The 32-bit word at `address`, if it is there.
    pub(super) fn word(&self, address: u64) -> Option<u32> {
        let end = address.checked_add(4)?;
        (end <= self.bytes.load(Relaxed) as u64 && address.is_multiple_of(4)).then(|| {
            // SAFETY: inside the memory (checked above), all of which is mapped, and aligned.
            // Volatile because compiled code changes it.
            unsafe { core::ptr::read_volatile((self.base + address) as *const u32) }
        })
    }

    /// Sets the 32-bit word at `address`, if it is there.
    pub(super) fn set_word(&self, address: u64, value: u32) {
        if self.word(address).is_some() {
            // SAFETY: inside the memory and aligned, as `word` has just found; compiled code
            // does not run meanwhile.
            unsafe { core::ptr::write_volatile((self.base + address) as *mut u32, value) };
        }
    }

    /// Where the byte at `address` is in physical memory.
    pub(super) fn physical(&self, address: u64) -> Option<u64> {
        self.window.get().physical(address)
    }
}

/// The largest linear memory: the one a language runtime keeps its heap in.
pub(super) fn largest() -> Option<Arc<Memory>> {
    let memories = MEMORIES.get();
    memories
        .iter()
        .max_by_key(|memory| memory.bytes.load(Relaxed))
        .cloned()
}

struct WindowMemory(Arc<Memory>);

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
        if !may_grow(minimum) {
            return Err(OVER_LIMIT.to_string());
        }
        let mut window = Window::take().map_err(describe)?;
        window.grow_to(minimum as u64).map_err(describe)?;
        let memory = Arc::new(Memory {
            base: window.base(),
            window: Local::new(window),
            bytes: AtomicUsize::new(minimum),
        });
        MEMORIES.get().push(Arc::clone(&memory));
        Ok(Box::new(WindowMemory(memory)))
    }
}

// SAFETY: the base never moves, and everything below `byte_size` is mapped.
unsafe impl LinearMemory for WindowMemory {
    fn byte_size(&self) -> usize {
        self.0.bytes.load(Relaxed)
    }

    fn byte_capacity(&self) -> usize {
        MEMORY_RESERVATION_BYTES as usize
    }

    fn grow_to(&mut self, bytes: usize) -> wasmtime::Result<()> {
        if !may_grow(bytes.saturating_sub(self.byte_size())) {
            return Err(wasmtime::Error::msg(OVER_LIMIT));
        }
        let grown = self.0.window.get().grow_to(bytes as u64);
        grown.map_err(|error| wasmtime::Error::msg(describe(error)))?;
        self.0.bytes.store(bytes, Relaxed);
        Ok(())
    }

    fn as_ptr(&self) -> *mut u8 {
        self.0.base as *mut u8
    }
}

fn describe(error: Exhausted) -> String {
    match error {
        Exhausted::Windows => "no room for another linear memory",
        Exhausted::Memory => "out of memory",
    }
    .to_string()
}
