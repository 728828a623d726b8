//! Memory: one pool of physical memory, eaten from both ends.
//!
//! ```text
//!   POOL_START                                             pool end   image
//!       | heap ───>             (free)              <─── chunks | . . . |
//! ```
//! The kernel heap grows upward, identity mapped. Windows (linear memories, task stacks) take
//! 2 MiB chunks from the top, and the gate maps them. A reserve is kept for the heap, so that
//! a workload that eats all it can get cannot take the kernel's own memory.

mod heap;
mod libc;
mod pages;
mod pool;
pub(crate) mod window;

use crate::{boot::Boot, report, stub};

pub(crate) use pages::make_executable;

/// Heap that windows can never take, in bytes, beside the file tree's quota.
const HEAP_RESERVE_BYTES: u64 = 16 << 20;

/// Tells the pool how much memory there is.
pub(crate) fn configure(boot: &Boot) {
    let end = boot.image.start.min(boot.ram_end);
    pool::configure(end, HEAP_RESERVE_BYTES + file_quota_bytes());
}

/// What the file tree may hold, in bytes: a quarter of the pool.
pub(crate) fn file_quota_bytes() -> u64 {
    pool::total_bytes() / 4
}

/// Takes the page tables out of reach for the rest of this VM's life.
pub(crate) fn seal() {
    if stub::seal(pool::end()).is_err() {
        report::fatal(format_args!("the page tables could not be sealed"));
    }
}
