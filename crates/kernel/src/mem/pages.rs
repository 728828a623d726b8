//! The image's rights, set in the boot page tables before they are sealed.
//!
//! The image lies wherever the VMM put it, page aligned. Its code becomes R-X and the rest
//! of the 2 MiB pages it touches keep their rights: whole large pages inside the code are
//! changed in place, the two at its edges are split into small ones.
#![expect(unsafe_code, reason = "page tables")]

use crate::stub::LARGE_PAGE_BYTES;
use core::ops::Range;
use core::ptr::{addr_of_mut, write_volatile};
use ukernel_abi::layout::{PAGE_BYTES, POOL_START};

const PRESENT: u64 = 1;
const WRITE: u64 = 2;
const USER: u64 = 4;
const LARGE: u64 = 0x80;
const NO_EXECUTE: u64 = 1 << 63;

const DATA: u64 = PRESENT | WRITE | USER | NO_EXECUTE;
const CODE: u64 = PRESENT | USER;
const ENTRIES: usize = 512;
const EDGE_TABLES: usize = 4;

unsafe extern "C" {
    /// Entries for the low 4 GiB, one per 2 MiB.
    static mut low_directory: [u64; 4 * ENTRIES];
    /// Small-page tables for the edges.
    static mut image_tables: [[u64; ENTRIES]; EDGE_TABLES];
}

/// The code cannot be given its rights.
#[derive(Debug)]
pub(crate) struct BadCode;

/// Makes `code` executable and read-only. Possible once, before the seal.
pub(crate) fn make_executable(code: Range<u64>) -> Result<(), BadCode> {
    let aligned = code.start.is_multiple_of(PAGE_BYTES);
    let end = code.end.next_multiple_of(PAGE_BYTES);
    if !aligned || code.start < POOL_START || code.start >= end || end > 4 << 30 {
        return Err(BadCode);
    }
    let mut edges_used = 0;
    let mut at = code.start & !(LARGE_PAGE_BYTES - 1);
    while at < end {
        let entry = (at / LARGE_PAGE_BYTES) as usize;
        let whole = at >= code.start && at + LARGE_PAGE_BYTES <= end;
        let value = if whole {
            at | CODE | LARGE
        } else {
            let table = split(edges_used, at, &(code.start..end))?;
            edges_used += 1;
            table | PRESENT | WRITE | USER
        };
        // SAFETY: before the seal the directory is writable and nothing else refers to it;
        // `entry` is below 2048 because `end` is at most 4 GiB. The pages stay mapped.
        unsafe { write_volatile(addr_of_mut!(low_directory[entry]), value) };
        at += LARGE_PAGE_BYTES;
    }
    Ok(())
}

/// Fills edge table `index` for the 2 MiB at `base`: code inside `code`, data outside.
fn split(index: usize, base: u64, code: &Range<u64>) -> Result<u64, BadCode> {
    if index >= EDGE_TABLES {
        return Err(BadCode);
    }
    #[expect(
        clippy::needless_range_loop,
        reason = "no reference to the table is made"
    )]
    for page in 0..ENTRIES {
        let address = base + page as u64 * PAGE_BYTES;
        let rights = if code.contains(&address) { CODE } else { DATA };
        // SAFETY: before the seal the tables are writable, and this one is not in use yet.
        unsafe { write_volatile(addr_of_mut!(image_tables[index][page]), address | rights) };
    }
    Ok(addr_of_mut!(image_tables) as u64 + index as u64 * PAGE_BYTES)
}
