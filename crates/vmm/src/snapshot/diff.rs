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

use super::pages::{self, PageRange};
use super::working_set::WorkingSet;
use crate::memory::GuestMemory;
use crate::{Result, VmmError};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use ukernel_abi::layout::PAGE_BYTES;
use vm_memory::{
    Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryRegion, ReadVolatile, VolatileSlice,
    WriteVolatile,
};

const MAGIC: [u8; 4] = *b"UKVP";
const VERSION: u32 = 2;
const HEADER_BYTES: usize = 24;
const PAGE: usize = PAGE_BYTES as usize;
const WORD: usize = 8;
const WORDS: usize = PAGE / WORD;

/// A part larger than this is not worth it: the page is kept whole.
const MAX_PART_BYTES: usize = PAGE / 4;

/// Parts are held in memory, so there are at most so many bytes of them.
const MAX_PARTS_BYTES: usize = 4 << 20;

/// Pages of the template read at a time.
const BATCH: u32 = 64;

/// Writes the difference between the pages of `ranges` and the template to `file`, from where
/// it stands. Returns the number of pages that differ.
///
/// # Errors
/// [`VmmError::Os`], [`VmmError::Memory`].
pub fn write(memory: &GuestMemory, ranges: &[PageRange], file: &mut File) -> Result<u64> {
    let found = Difference::find(memory, ranges)?;
    let mut head = MAGIC.to_vec();
    head.extend_from_slice(&VERSION.to_le_bytes());
    head.extend_from_slice(&pages::count(&found.whole).to_le_bytes());
    head.extend_from_slice(&(found.parts.len() as u64).to_le_bytes());
    for range in &found.whole {
        for page in range.start..range.start.saturating_add(range.count) {
            head.extend_from_slice(&page.to_le_bytes());
        }
    }
    head.extend_from_slice(&found.parts);
    if !found.whole.is_empty() {
        head.resize(head.len().next_multiple_of(PAGE), 0);
    }
    file.write_all(&head)
        .map_err(|error| VmmError::os("writing the page table of a snapshot", error))?;
    for range in &found.whole {
        let slice = slice_of(memory, *range)?;
        file.write_all_volatile(&slice)
            .map_err(|error| VmmError::Memory {
                cause: format!("writing the pages of a snapshot: {error}"),
            })?;
    }
    Ok(pages::count(&found.whole) + found.in_part)
}

/// Which pages differ from the template, and how.
#[derive(Default)]
struct Difference {
    whole: Vec<PageRange>,
    parts: Vec<u8>,
    /// Number of pages in `parts`.
    in_part: u64,
}

impl Difference {
    fn find(memory: &GuestMemory, ranges: &[PageRange]) -> Result<Self> {
        let region = memory.ram_region();
        let Some(template) = region.file_offset() else {
            return Err(VmmError::Memory {
                cause: "RAM is no file's".to_owned(),
            });
        };
        let mut found = Self::default();
        let mut old = vec![0; BATCH as usize * PAGE];
        for range in ranges {
            let end = range.start.saturating_add(range.count);
            for start in (range.start..end).step_by(BATCH as usize) {
                let count = BATCH.min(end - start);
                let old = &mut old[..count as usize * PAGE];
                template
                    .file()
                    .read_exact_at(old, template.start() + u64::from(start) * PAGE_BYTES)
                    .map_err(|error| VmmError::os("reading the template's memory", error))?;
                for (page, old) in (start..).zip(old.as_chunks::<PAGE>().0) {
                    found.compare(memory, page, old)?;
                }
            }
        }
        Ok(found)
    }

    fn compare(&mut self, memory: &GuestMemory, page: u32, old: &[u8; PAGE]) -> Result<()> {
        let mut new = [0; PAGE];
        memory
            .ram()
            .read_slice(&mut new, GuestAddress(u64::from(page) * PAGE_BYTES))
            .map_err(|error| VmmError::Memory {
                cause: error.to_string(),
            })?;
        if new == *old {
            return Ok(());
        }
        let before = self.parts.len();
        let most = MAX_PARTS_BYTES.min(before + MAX_PART_BYTES);
        if append_part(&mut self.parts, page, old, &new, most) {
            self.in_part += 1;
        } else {
            self.parts.truncate(before);
            pages::push(&mut self.whole, page);
        }
        Ok(())
    }
}

/// Appends what of `new` differs from `old`. `false`: there would be more than `most` bytes.
fn append_part(
    parts: &mut Vec<u8>,
    page: u32,
    old: &[u8; PAGE],
    new: &[u8; PAGE],
    most: usize,
) -> bool {
    let words = |bytes: &[u8; PAGE], at: usize| -> [u8; WORD] { bytes.as_chunks().0[at] };
    parts.extend_from_slice(&page.to_le_bytes());
    let count_at = parts.len();
    parts.extend_from_slice(&[0; 2]);
    let mut runs = 0u16;
    let mut at = 0;
    while at < WORDS {
        if words(old, at) == words(new, at) {
            at += 1;
            continue;
        }
        let first = at;
        while at < WORDS && words(old, at) != words(new, at) {
            at += 1;
        }
        // Numbers of words of a page fit.
        #[expect(clippy::cast_possible_truncation)]
        for number in [first as u16, (at - first) as u16] {
            parts.extend_from_slice(&number.to_le_bytes());
        }
        parts.extend_from_slice(&new[first * WORD..at * WORD]);
        if parts.len() > most {
            return false;
        }
        runs += 1;
    }
    parts[count_at..count_at + 2].copy_from_slice(&runs.to_le_bytes());
    parts.len() <= most
}

/// Puts the difference kept in `file` into RAM that is the template's.
///
/// # Errors
/// [`VmmError::BadDiff`], [`VmmError::Os`], [`VmmError::Memory`].
pub fn apply(memory: &GuestMemory, file: &mut File) -> Result<()> {
    let (whole, parts) = read_head(file, memory.layout().ram_pages())?;
    apply_parts(&parts, memory.layout().ram_pages(), |address, content| {
        memory
            .ram()
            .write_slice(content, GuestAddress(address))
            .map_err(|error| VmmError::Memory {
                cause: error.to_string(),
            })
    })?;
    for range in &whole {
        memory.renew(range.start, range.count);
    }
    // Page by page, the faults would cost four times the copying.
    let whole = WorkingSet { written: whole };
    whole.populate(memory)?;
    for range in whole.written {
        let mut slice = slice_of(memory, range)?;
        file.read_exact_volatile(&mut slice)
            .map_err(|error| VmmError::Memory {
                cause: format!("reading the pages of a snapshot: {error}"),
            })?;
    }
    Ok(())
}

/// Reads everything before the whole pages, and leaves `file` at the first of them.
fn read_head(file: &mut impl Read, ram_pages: u64) -> Result<(Vec<PageRange>, Vec<u8>)> {
    let mut header = [0u8; HEADER_BYTES];
    file.read_exact(&mut header).map_err(|_| bad(CUT_SHORT))?;
    let (magic, rest) = header.split_at(4);
    let (version, numbers) = rest.split_at(4);
    if magic != MAGIC {
        return Err(bad("it is not a page file"));
    }
    if version != VERSION.to_le_bytes() {
        return Err(bad("it is of another version"));
    }
    let [whole, bytes] = [0, 1].map(|at| u64::from_le_bytes(numbers.as_chunks().0[at]));
    if whole > ram_pages {
        return Err(bad("it has more pages than RAM"));
    }
    if bytes > MAX_PARTS_BYTES as u64 {
        return Err(bad("its parts are too large"));
    }
    // Both are small now.
    let [whole, bytes] = [whole, bytes].map(|number| usize::try_from(number).unwrap_or(usize::MAX));
    let mut length = HEADER_BYTES + whole * 4 + bytes;
    if whole > 0 {
        length = length.next_multiple_of(PAGE);
    }
    let mut rest = vec![0u8; length - HEADER_BYTES];
    file.read_exact(&mut rest).map_err(|_| bad(CUT_SHORT))?;
    let mut ranges: Vec<PageRange> = Vec::new();
    for number in rest[..whole * 4].as_chunks::<4>().0 {
        let page = u32::from_le_bytes(*number);
        if u64::from(page) >= ram_pages {
            return Err(bad(PAST_RAM));
        }
        if ranges
            .last()
            .is_some_and(|last| last.start + last.count > page)
        {
            return Err(bad("its pages are not in order"));
        }
        pages::push(&mut ranges, page);
    }
    rest.truncate(whole * 4 + bytes);
    rest.drain(..whole * 4);
    Ok((ranges, rest))
}

/// Calls `put` with address and content of every run.
fn apply_parts(
    mut parts: &[u8],
    ram_pages: u64,
    mut put: impl FnMut(u64, &[u8]) -> Result<()>,
) -> Result<()> {
    while !parts.is_empty() {
        let page = u32::from_le_bytes(take(&mut parts)?);
        if u64::from(page) >= ram_pages {
            return Err(bad(PAST_RAM));
        }
        let runs = u16::from_le_bytes(take(&mut parts)?);
        for _ in 0..runs {
            let first = usize::from(u16::from_le_bytes(take(&mut parts)?));
            let words = usize::from(u16::from_le_bytes(take(&mut parts)?));
            if first + words > WORDS {
                return Err(bad("a run goes past its page"));
            }
            let (content, rest) = parts.split_at_checked(words * WORD).ok_or(bad(CUT_SHORT))?;
            put(
                u64::from(page) * PAGE_BYTES + (first * WORD) as u64,
                content,
            )?;
            parts = rest;
        }
    }
    Ok(())
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk().ok_or(bad(CUT_SHORT))?;
    *bytes = rest;
    Ok(*first)
}

const CUT_SHORT: &str = "it is cut short";
const PAST_RAM: &str = "it has a page past RAM";

fn bad(cause: &'static str) -> VmmError {
    VmmError::BadDiff { cause }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{Backing, MemoryLayout, create_ram};
    use crate::snapshot::pages::PageMap;
    use proptest::prelude::*;
    use std::io::Seek;
    use ukernel_abi::layout::MIN_MEMORY_MIB;

    fn layout() -> MemoryLayout {
        MemoryLayout::new(MIN_MEMORY_MIB, 0).expect("fits")
    }

    fn fork_of(template: &File) -> GuestMemory {
        let ram = template.try_clone().expect("dup");
        GuestMemory::map(layout(), ram, Backing::Private, None).expect("map")
    }

    fn new_file() -> File {
        rustix::fs::memfd_create("pages", rustix::fs::MemfdFlags::CLOEXEC)
            .expect("memfd")
            .into()
    }

    fn first_pages(memory: &GuestMemory) -> Vec<u8> {
        let mut bytes = vec![0; 16 * PAGE];
        memory
            .ram()
            .read_slice(&mut bytes, GuestAddress(0))
            .expect("read");
        bytes
    }

    /// Keeps what `fork` wrote and puts it into a new fork. Pages and bytes it took.
    fn there_and_back(template: &File, fork: &GuestMemory) -> (GuestMemory, u64, u64) {
        let written = PageMap::open().expect("pagemap").written(fork);
        let mut kept = new_file();
        let pages = write(fork, &written.expect("scan"), &mut kept).expect("write");
        let bytes = kept.stream_position().expect("position");
        kept.rewind().expect("rewind");
        let again = fork_of(template);
        apply(&again, &mut kept).expect("apply");
        (again, pages, bytes)
    }

    #[test]
    fn little_is_kept_of_a_page_that_changed_little() {
        let template = create_ram(layout()).expect("memfd");
        template.write_all_at(&[7; 16 * PAGE], 0).expect("written");
        let fork = fork_of(&template);
        let write = |bytes: &[u8], at: u64| {
            fork.ram()
                .write_slice(bytes, GuestAddress(at))
                .expect("write");
        };
        write(b"word", 3 * PAGE_BYTES + 4090);
        write(&[7; 100], 5 * PAGE_BYTES);
        let (again, pages, bytes) = there_and_back(&template, &fork);
        assert_eq!(first_pages(&again), first_pages(&fork));
        assert_eq!(pages, 1, "page 5 is the template's again");
        assert!(bytes < 64, "{bytes}");
        write(&[9; PAGE], 8 * PAGE_BYTES);
        let (again, pages, bytes) = there_and_back(&template, &fork);
        assert_eq!(first_pages(&again), first_pages(&fork));
        assert_eq!((pages, bytes), (2, 2 * PAGE_BYTES));
    }

    #[test]
    fn many_pages_in_a_row_come_back_and_are_found_again() {
        let template = create_ram(layout()).expect("memfd");
        template.write_all_at(&[7; 300 * PAGE], 0).expect("written");
        let fork = fork_of(&template);
        let bytes: Vec<u8> = (0..200 * PAGE)
            .map(|at| (at / 7 + at / PAGE) as u8)
            .collect();
        fork.ram()
            .write_slice(&bytes, GuestAddress(50 * PAGE_BYTES))
            .expect("written");
        let (again, pages, _) = there_and_back(&template, &fork);
        assert_eq!(pages, 200);
        let (third, pages, _) = there_and_back(&template, &again);
        assert_eq!(pages, 200);
        let mut seen = vec![0; bytes.len()];
        third
            .ram()
            .read_slice(&mut seen, GuestAddress(50 * PAGE_BYTES))
            .expect("read");
        assert!(seen == bytes);
        let mut beside = [0; 8];
        third
            .ram()
            .read_slice(&mut beside, GuestAddress(250 * PAGE_BYTES))
            .expect("read");
        assert_eq!(beside, [7; 8]);
    }

    proptest! {
        /// Whatever was written comes back.
        #[test]
        fn a_difference_comes_back(writes in proptest::collection::vec(
            (0..16 * PAGE_BYTES - 3000, proptest::collection::vec(any::<u8>(), 1..3000)), 0..12)) {
            let template = create_ram(layout()).expect("memfd");
            template.write_all_at(&[1; 9 * PAGE], 0).expect("written");
            let fork = fork_of(&template);
            for (at, bytes) in &writes {
                fork.ram().write_slice(bytes, GuestAddress(*at)).expect("write");
            }
            let (again, _, _) = there_and_back(&template, &fork);
            prop_assert!(first_pages(&again) == first_pages(&fork));
        }

        /// Total: any file is read or refused.
        #[test]
        fn any_head_is_decided(whole in any::<u64>(), length in any::<u64>(), is_small in any::<bool>(),
            table in proptest::collection::vec(any::<u32>(), 0..40), parts in proptest::collection::vec(any::<u8>(), 0..400)) {
            let (whole, length) = if is_small { (table.len() as u64, parts.len() as u64) } else { (whole, length) };
            let mut bytes = MAGIC.to_vec();
            bytes.extend_from_slice(&VERSION.to_le_bytes());
            bytes.extend_from_slice(&whole.to_le_bytes());
            bytes.extend_from_slice(&length.to_le_bytes());
            for (at, number) in table.iter().enumerate() {
                let number = if is_small { at as u32 * 3 } else { *number };
                bytes.extend_from_slice(&number.to_le_bytes());
            }
            bytes.extend_from_slice(&parts);
            bytes.resize(bytes.len().next_multiple_of(PAGE), 0);
            let pages = layout().ram_pages();
            if let Ok((_, parts)) = read_head(&mut bytes.as_slice(), pages) {
                let _ = apply_parts(&parts, pages, |address, content| {
                    assert!(address + content.len() as u64 <= pages * PAGE_BYTES);
                    Ok(())
                });
            }
        }
    }
}
