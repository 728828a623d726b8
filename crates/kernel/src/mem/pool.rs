//! The pool's two ends.

use crate::local::Local;
use crate::stub::LARGE_PAGE_BYTES;
use ukernel_abi::layout::POOL_START;

/// Heap there is before the size of memory is known, for reading the boot information.
const BOOT_HEAP_BYTES: u64 = 1 << 20;

/// Stays free between the two ends for what the kernel itself needs.
const RESERVE_BYTES: u64 = 16 << 20;

struct Pool {
    end: u64,
    heap_next: u64,
    chunk_floor: u64,
    /// Heap beside the reserve that windows leave alone.
    file_share: u64,
    /// Whether what is allocated now has to leave the reserve alone.
    spares_reserve: bool,
}

static POOL: Local<Pool> = Local::new(Pool {
    end: POOL_START + BOOT_HEAP_BYTES,
    heap_next: POOL_START,
    chunk_floor: POOL_START + BOOT_HEAP_BYTES,
    file_share: 0,
    spares_reserve: false,
});

pub(super) fn configure(end: u64) {
    let mut pool = POOL.get();
    pool.end = end & !(LARGE_PAGE_BYTES - 1);
    pool.chunk_floor = pool.end;
}

pub(super) fn set_file_share(bytes: u64) {
    POOL.get().file_share = bytes;
}

pub(super) fn spare_reserve(spares: bool) {
    POOL.get().spares_reserve = spares;
}

pub(super) fn end() -> u64 {
    POOL.get().end
}

pub(super) fn total_bytes() -> u64 {
    POOL.get().end - POOL_START
}

/// The next `bytes` of identity-mapped heap, or `None` when the ends meet.
pub(super) fn take_heap(bytes: u64) -> Option<u64> {
    let mut pool = POOL.get();
    let start = pool.heap_next;
    let next = start.checked_add(bytes)?;
    let kept = if pool.spares_reserve {
        RESERVE_BYTES
    } else {
        0
    };
    if next.checked_add(kept)? > pool.chunk_floor {
        return None;
    }
    pool.heap_next = next;
    Some(start)
}

/// A 2 MiB chunk for a window, or `None` when the rest is the heap's.
pub(super) fn take_chunk() -> Option<u64> {
    let mut pool = POOL.get();
    let floor = pool.chunk_floor.checked_sub(LARGE_PAGE_BYTES)?;
    let heap_limit = pool.heap_next.max(POOL_START + pool.file_share) + RESERVE_BYTES;
    if floor < heap_limit {
        return None;
    }
    pool.chunk_floor = floor;
    Some(floor)
}
