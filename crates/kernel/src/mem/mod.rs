//! Memory: one pool of physical memory, eaten from both ends.
//!
//! ```text
//!   POOL_START                                             pool end   image
//!       | heap ───>             (free)              <─── chunks | . . . |
//! ```
//! The kernel heap grows upward, identity mapped. Windows (linear memories, task stacks) take
//! 2 MiB chunks from the top, and the gate maps them.
//!
//! The middle never closes: a reserve stays between the two ends for what the kernel itself
//! allocates, which must not fail. Neither windows nor what the file tree keeps
//! ([`spare_reserve`]) can take it; for them, running out is an error of the workload's. Windows
//! also leave the file tree its share.

mod heap;
mod libc;
mod pages;
mod pool;
pub(crate) mod window;

use crate::{boot::Boot, report, stub};

pub(crate) use pages::make_executable;

use ukernel_abi::message::Limits;

/// Tells the pool how much memory there is.
pub(crate) fn configure(boot: &Boot) {
    let end = boot.image.start.min(boot.ram_end);
    pool::configure(end);
    pool::set_file_share(file_share_bytes());
}

/// What the file tree may hold, at first and at most, in bytes. Without a limit of the
/// host's it is the share windows leave it; the host may give more than that, or less.
pub(crate) fn file_quota(limits: &Limits) -> (u64, u64) {
    let max = match limits.max_files_bytes {
        u64::MAX => file_share_bytes(),
        bytes => bytes,
    };
    (limits.files_bytes.min(max), max)
}

/// Lets windows have what the file tree may not use of its share.
pub(crate) fn set_max_files(bytes: u64) {
    pool::set_file_share(bytes.min(file_share_bytes()));
}

/// While this is `true`, allocations fail instead of taking the kernel's reserve.
pub(crate) fn spare_reserve(is_spared: bool) {
    pool::spare_reserve(is_spared);
}

/// What windows leave to the file tree, in bytes: a quarter of the pool.
pub(crate) fn file_share_bytes() -> u64 {
    pool::total_bytes() / 4
}

/// Takes the page tables out of reach for the rest of this VM's life.
pub(crate) fn seal() {
    if stub::seal(pool::end()).is_err() {
        report::fatal(format_args!("the page tables could not be sealed"));
    }
}
