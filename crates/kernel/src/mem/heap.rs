//! The kernel heap: dlmalloc over the lower end of the pool.
#![expect(unsafe_code, reason = "the global allocator")]

use super::pool;
use crate::local::Local;
use core::alloc::{GlobalAlloc, Layout};
use dlmalloc::{Allocator, Dlmalloc};
use ukernel_abi::layout::PAGE_BYTES;

struct Pool;

// SAFETY: hands out memory of the pool that nothing else uses, and never takes it back.
unsafe impl Allocator for Pool {
    fn alloc(&self, size: usize) -> (*mut u8, usize, u32) {
        match pool::take_heap(size as u64) {
            Some(start) => (start as *mut u8, size, 0),
            None => (core::ptr::null_mut(), 0, 0),
        }
    }

    fn remap(&self, _: *mut u8, _: usize, _: usize, _: bool) -> *mut u8 {
        core::ptr::null_mut()
    }

    fn free_part(&self, _: *mut u8, _: usize, _: usize) -> bool {
        false
    }

    fn free(&self, _: *mut u8, _: usize) -> bool {
        false
    }

    fn can_release_part(&self, _: u32) -> bool {
        false
    }

    fn allocates_zeros(&self) -> bool {
        true
    }

    fn page_size(&self) -> usize {
        PAGE_BYTES as usize
    }
}

static HEAP: Local<Dlmalloc<Pool>> = Local::new(Dlmalloc::new_with_allocator(Pool));

struct Heap;

#[global_allocator]
static ALLOCATOR: Heap = Heap;

// SAFETY: dlmalloc keeps the contract; `Local` keeps it from being entered twice.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's contract is dlmalloc's.
        unsafe { HEAP.get().malloc(layout.size(), layout.align()) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's contract is dlmalloc's.
        unsafe { HEAP.get().calloc(layout.size(), layout.align()) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract is dlmalloc's.
        unsafe { HEAP.get().free(memory, layout.size(), layout.align()) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's contract is dlmalloc's.
        unsafe {
            HEAP.get()
                .realloc(memory, layout.size(), layout.align(), size)
        }
    }
}
