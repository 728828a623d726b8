//! What a fork wrote, as a file: its difference from the template.
//!
//! ```text
//!   "UKVP" version  whole  bytes   number[0] number[1] ...   part[0] part[1] ...
//!    4      4        8      8       4 each, ascending         `bytes`
//!   (page aligned) page[0] page[1] ...                 part:  number runs  run[0] run[1] ...
//!                   4096 each                                  4      2
//!                                                       run:  first words  content
//!                                                              2     2      8 * words
//! ```
//! A fork copies a page to change a few words of it: of the 450 pages a small Python program
//! leaves behind, all but 1 % of the bytes are the template's. Pages that are the template's
//! again are left out.

mod apply;
mod read;
mod write;

pub use apply::{apply, apply_at, apply_to_file};
pub use write::{write, write_from_file};

use crate::memory::GuestMemory;
use crate::snapshot::pages::PageRange;
use crate::{Result, VmmError};
use ukernel_abi::layout::PAGE_BYTES;
use vm_memory::{GuestAddress, GuestMemoryBackend, VolatileSlice};

const MAGIC: [u8; 4] = *b"UKVP";
pub(crate) const VERSION: u32 = 2;
const HEADER_BYTES: usize = 24;
const PAGE: usize = PAGE_BYTES as usize;
const WORD: usize = 8;
const WORDS: usize = PAGE / WORD;

/// Parts are held in memory, so there are at most so many bytes of them.
const MAX_PARTS_BYTES: usize = 4 << 20;

/// Pages handled at a time.
const BATCH: u32 = 64;

/// The runs of at most [`BATCH`] pages that make up `range`.
fn batches(range: PageRange) -> impl Iterator<Item = PageRange> {
    let end = range.start.saturating_add(range.count);
    (range.start..end)
        .step_by(BATCH as usize)
        .map(move |start| PageRange {
            start,
            count: BATCH.min(end - start),
        })
}

fn slice_of(memory: &GuestMemory, range: PageRange) -> Result<VolatileSlice<'_, ()>> {
    let start = GuestAddress(u64::from(range.start) * PAGE_BYTES);
    memory
        .ram()
        .get_slice(start, range.count as usize * PAGE)
        .map_err(|error| VmmError::Memory {
            cause: error.to_string(),
        })
}
