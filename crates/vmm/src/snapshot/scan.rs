//! Asking Linux for the pages a fork wrote (`PAGEMAP_SCAN`, Linux 6.7): it answers with
//! ranges and steps over what was never touched, where reading the page tables as a file
//! costs 8 bytes for every page there could be.

use std::fs::File;
use std::io;
use vmm_sys_util::ioctl::ioctl_with_mut_ref;

/// The request number, `_IOWR('f', 16, struct pm_scan_arg)` (`linux/fs.h`).
pub(crate) const PAGEMAP_SCAN: u64 = 0xc060_6610;

// Categories (`linux/fs.h`).
const PAGE_IS_FILE: u64 = 1 << 2;
const PAGE_IS_PRESENT: u64 = 1 << 3;
const PAGE_IS_SWAPPED: u64 = 1 << 4;

/// Ranges asked for at a time.
const BATCH: usize = 1024;

/// `struct page_region`: addresses, the end not included.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Region {
    start: u64,
    end: u64,
    categories: u64,
}

/// `struct pm_scan_arg`.
#[repr(C)]
#[derive(Default)]
struct Request {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    regions: u64,
    regions_length: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

/// Calls `found` with the address ranges between `start` and `end` that hold private copies
/// of this process's own, in ascending order.
///
/// # Errors
/// Linux's answer; `ENOTTY` where it is older.
pub(super) fn private_ranges(
    pagemap: &File,
    start: u64,
    end: u64,
    mut found: impl FnMut(u64, u64),
) -> io::Result<()> {
    let mut regions = [Region::default(); BATCH];
    let mut at = start;
    while at < end {
        let mut request = Request {
            size: size_of::<Request>() as u64,
            start: at,
            end,
            regions: regions.as_mut_ptr() as u64,
            regions_length: BATCH as u64,
            category_inverted: PAGE_IS_FILE,
            category_mask: PAGE_IS_FILE,
            category_anyof_mask: PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
            ..Request::default()
        };
        // SAFETY: the request is laid out as Linux has it, with its size in it, and names an
        // array of ours with its length; Linux writes to these two and nothing else, no flag
        // asking it to change the page tables.
        let count = unsafe { ioctl_with_mut_ref(pagemap, PAGEMAP_SCAN, &mut request) };
        let Ok(count) = usize::try_from(count) else {
            return Err(io::Error::last_os_error());
        };
        for region in regions.iter().take(count) {
            // It says the last one before `walk_end` twice.
            if region.end > at {
                found(region.start.max(at), region.end);
                at = region.end;
            }
        }
        if request.walk_end <= request.start {
            return Err(io::ErrorKind::InvalidData.into());
        }
        at = at.max(request.walk_end);
    }
    Ok(())
}
