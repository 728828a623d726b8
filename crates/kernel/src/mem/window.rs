//! Windows: address space whose pages are mapped as they are needed.
//!
//! A window is 6 GiB: 1 GiB in front of its base, 4 GiB for a 32-bit index, 1 GiB behind. Nothing in it is mapped until [`Window::grow_to`], and what is mapped
//! is zero, so an access outside faults and the trap handler turns it into a wasm trap.
//!
//! Windows are used once: a linear memory is never given back while the VM lives, because
//! VMs are cheap and unmapping would need another call in the privileged stub.

use super::pool;
use crate::local::Local;
use crate::stub::{self, LARGE_PAGE_BYTES, WINDOW_BASE, WINDOW_BYTES, WINDOWS};
use alloc::vec::Vec;
use ukernel_abi::layout::PAGE_BYTES;

/// Unmapped bytes in front of a window's base.
const FRONT_GUARD_BYTES: u64 = 1 << 30;

/// The most a window can hold: all of wasm32.
const MAX_BYTES: u64 = 4 << 30;

static NEXT: Local<usize> = Local::new(0);

/// No window or no memory is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exhausted {
    Windows,
    Memory,
}

/// One window, growing upward from its base.
#[derive(Debug)]
pub(crate) struct Window {
    index: usize,
    mapped: u64,
    /// Where each 2 MiB of it is in physical memory.
    chunks: Vec<u64>,
}

impl Window {
    /// Takes an unused window.
    pub(crate) fn take() -> Result<Self, Exhausted> {
        let mut next = NEXT.get();
        let index = *next;
        if index >= WINDOWS {
            return Err(Exhausted::Windows);
        }
        *next += 1;
        Ok(Self {
            index,
            mapped: 0,
            chunks: Vec::new(),
        })
    }

    /// First address that can be mapped.
    pub(crate) fn base(&self) -> u64 {
        WINDOW_BASE + self.index as u64 * WINDOW_BYTES + FRONT_GUARD_BYTES
    }

    /// Where the byte at `offset` from the base is in physical memory.
    pub(crate) fn physical(&self, offset: u64) -> Option<u64> {
        let chunk = self.chunks.get((offset / LARGE_PAGE_BYTES) as usize)?;
        (offset < self.mapped).then_some(chunk + offset % LARGE_PAGE_BYTES)
    }

    /// Maps zeroed memory up to `bytes` from the base. What was mapped before an
    /// [`Exhausted::Memory`] stays mapped.
    pub(crate) fn grow_to(&mut self, bytes: u64) -> Result<(), Exhausted> {
        let target = bytes.next_multiple_of(PAGE_BYTES);
        if target > MAX_BYTES {
            return Err(Exhausted::Memory);
        }
        while self.mapped < target {
            let into_chunk = self.mapped % LARGE_PAGE_BYTES;
            if into_chunk == 0 {
                self.chunks
                    .push(pool::take_chunk().ok_or(Exhausted::Memory)?);
            }
            let chunk = self.chunks.last().copied().ok_or(Exhausted::Memory)?;
            let chunk_start = self.mapped - into_chunk;
            let until = target.min(chunk_start + LARGE_PAGE_BYTES);
            let mapped = if until - chunk_start == LARGE_PAGE_BYTES {
                // Whole: one large page, also in place of small ones mapped before.
                stub::map_large(self.base() + chunk_start, chunk)
            } else {
                let pages = (until - self.mapped) / PAGE_BYTES;
                stub::map_small(
                    self.base() + self.mapped,
                    chunk + into_chunk,
                    pages,
                    self.index,
                )
            };
            mapped.map_err(|_| Exhausted::Memory)?;
            self.mapped = until;
        }
        Ok(())
    }
}

/// Maps a stretch of a window from `offset` on with whole large pages, for a stack.
pub(crate) fn map_stretch(window: &Window, offset: u64, bytes: u64) -> Result<u64, Exhausted> {
    let start = window.base() + offset;
    for at in (0..bytes).step_by(LARGE_PAGE_BYTES as usize) {
        let chunk = pool::take_chunk().ok_or(Exhausted::Memory)?;
        stub::map_large(start + at, chunk).map_err(|_| Exhausted::Memory)?;
    }
    Ok(start)
}
