//! The pages a fork wrote, found in the page tables and kept in a file.
//!
//! ```text
//!   "UKVP" version  count   index[0] index[1] ...   (page aligned) page[0] page[1] ...
//!    4      4        8       4 each, ascending                      4096 each
//! ```
//! RAM of a fork is a private mapping of the template. A page it wrote is a private,
//! anonymous copy, which `/proc/self/pagemap` tells apart (bit 61 clear) from pages that
//! are still the template's. Only what was dirtied is read, copied and kept.

use super::scan;
use crate::memory::GuestMemory;
use crate::{Result, VmmError};
use std::fs::File;
use std::os::unix::fs::FileExt;
use ukernel_abi::layout::PAGE_BYTES;
use vm_memory::{GuestAddress, GuestMemoryBackend, ReadVolatile, WriteVolatile};

const MAGIC: [u8; 4] = *b"UKVP";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 16;
const PAGE: usize = PAGE_BYTES as usize;

const PRESENT: u64 = 1 << 63;
const SWAPPED: u64 = 1 << 62;
const FILE_OR_SHARED: u64 = 1 << 61;

/// A run of pages, by guest page number.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub struct PageRange {
    /// First page.
    pub start: u32,
    /// Number of pages, at least one.
    pub count: u32,
}

/// The process's page tables as a file. Opened before the jail is closed.
#[derive(Debug)]
pub struct PageMap {
    file: File,
}

impl PageMap {
    /// Opens the page tables of this process.
    ///
    /// # Errors
    /// [`VmmError::Os`] where `/proc` is not mounted.
    pub fn open() -> Result<Self> {
        let file = File::open("/proc/self/pagemap")
            .map_err(|error| VmmError::os("opening /proc/self/pagemap", error))?;
        Ok(Self { file })
    }

    /// The pages of RAM this VM has written, in ascending order.
    ///
    /// # Errors
    /// [`VmmError::Os`].
    pub fn written(&self, memory: &GuestMemory) -> Result<Vec<PageRange>> {
        // Before Linux 6.7, and where a filter forbids it, all entries are read.
        self.scanned(memory).or_else(|_| self.read(memory))
    }

    fn scanned(&self, memory: &GuestMemory) -> std::io::Result<Vec<PageRange>> {
        let base = memory.ram_region().as_ptr() as u64;
        let mut written = Vec::new();
        let end = base + memory.layout().ram_bytes();
        scan::private_ranges(&self.file, base, end, |start, end| {
            // At most 3 GiB of RAM: page numbers fit.
            #[expect(clippy::cast_possible_truncation)]
            let page = |address: u64| ((address - base) / PAGE_BYTES) as u32;
            push_range(
                &mut written,
                PageRange {
                    start: page(start),
                    count: page(end) - page(start),
                },
            );
        })?;
        Ok(written)
    }

    fn read(&self, memory: &GuestMemory) -> Result<Vec<PageRange>> {
        /// Entries read at a time.
        const BATCH: usize = 4096;
        let first = memory.ram_region().as_ptr() as u64 / PAGE_BYTES;
        let total = usize::try_from(memory.layout().ram_pages()).unwrap_or(usize::MAX);
        let mut written = Vec::new();
        let mut entries = vec![0u8; BATCH * 8];
        let mut done = 0;
        while done < total {
            let bytes = &mut entries[..BATCH.min(total - done) * 8];
            self.file
                .read_exact_at(bytes, (first + done as u64) * 8)
                .map_err(|error| VmmError::os("reading /proc/self/pagemap", error))?;
            let (chunks, _) = bytes.as_chunks::<8>();
            for (i, entry) in chunks.iter().enumerate() {
                if is_private(u64::from_le_bytes(*entry)) {
                    // At most 3 GiB of RAM: page numbers fit.
                    #[expect(clippy::cast_possible_truncation)]
                    push(&mut written, (done + i) as u32);
                }
            }
            done += chunks.len();
        }
        Ok(written)
    }
}

/// Whether a page-table entry is a copy of this process's own.
fn is_private(entry: u64) -> bool {
    entry & (PRESENT | SWAPPED) != 0 && entry & FILE_OR_SHARED == 0
}

/// Adds `page`, which lies behind all of `ranges`.
fn push(ranges: &mut Vec<PageRange>, page: u32) {
    push_range(
        ranges,
        PageRange {
            start: page,
            count: 1,
        },
    );
}

/// Adds `range`, which lies behind all of `ranges`.
fn push_range(ranges: &mut Vec<PageRange>, range: PageRange) {
    match ranges.last_mut() {
        Some(last) if last.start + last.count == range.start => last.count += range.count,
        _ => ranges.push(range),
    }
}

/// Number of pages in `ranges`.
#[must_use]
pub fn count(ranges: &[PageRange]) -> u64 {
    ranges.iter().map(|range| u64::from(range.count)).sum()
}

/// Writes the pages of `ranges` with their numbers to `file`.
///
/// # Errors
/// [`VmmError::Os`], [`VmmError::Memory`].
pub fn write(memory: &GuestMemory, ranges: &[PageRange], file: &mut File) -> Result<()> {
    let mut table = MAGIC.to_vec();
    table.extend_from_slice(&VERSION.to_le_bytes());
    table.extend_from_slice(&count(ranges).to_le_bytes());
    for range in ranges {
        for page in range.start..range.start.saturating_add(range.count) {
            table.extend_from_slice(&page.to_le_bytes());
        }
    }
    table.resize(table.len().next_multiple_of(PAGE), 0);
    std::io::Write::write_all(file, &table)
        .map_err(|error| VmmError::os("writing the page table of a snapshot", error))?;
    for range in ranges {
        let slice = range_slice(memory, *range)?;
        file.write_all_volatile(&slice)
            .map_err(|error| VmmError::Memory {
                cause: format!("writing the pages of a snapshot: {error}"),
            })?;
    }
    Ok(())
}

/// Puts the pages kept in `file` into RAM.
///
/// # Errors
/// [`VmmError::BadDiff`], [`VmmError::Os`], [`VmmError::Memory`].
pub fn apply(memory: &GuestMemory, file: &mut File) -> Result<()> {
    let ranges = read_table(file, memory.layout().ram_pages())?;
    for range in ranges {
        let mut slice = range_slice(memory, range)?;
        file.read_exact_volatile(&mut slice)
            .map_err(|error| VmmError::Memory {
                cause: format!("reading the pages of a snapshot: {error}"),
            })?;
    }
    Ok(())
}

/// Reads the page numbers and leaves `file` at the first page.
fn read_table(file: &mut File, ram_pages: u64) -> Result<Vec<PageRange>> {
    use std::io::Read;
    let bad = |cause| VmmError::BadDiff { cause };
    let mut header = [0u8; HEADER_BYTES];
    file.read_exact(&mut header)
        .map_err(|_| bad("it is cut short"))?;
    let (magic, rest) = header.split_at(4);
    let (version, number) = rest.split_at(4);
    if magic != MAGIC {
        return Err(bad("it is not a page file"));
    }
    if version != VERSION.to_le_bytes() {
        return Err(bad("it is of another version"));
    }
    let number = number.try_into().map_or(u64::MAX, u64::from_le_bytes);
    if number > ram_pages {
        return Err(bad("it has more pages than RAM"));
    }
    let table = usize::try_from(number).unwrap_or(usize::MAX) * 4;
    let padded = (HEADER_BYTES + table).next_multiple_of(PAGE) - HEADER_BYTES;
    let mut bytes = vec![0u8; padded];
    file.read_exact(&mut bytes)
        .map_err(|_| bad("it is cut short"))?;
    let mut ranges: Vec<PageRange> = Vec::new();
    for index in bytes[..table].as_chunks::<4>().0 {
        let page = u32::from_le_bytes(*index);
        if u64::from(page) >= ram_pages {
            return Err(bad("it has a page past RAM"));
        }
        if ranges
            .last()
            .is_some_and(|last| last.start + last.count > page)
        {
            return Err(bad("its pages are not in order"));
        }
        push(&mut ranges, page);
    }
    Ok(ranges)
}

fn range_slice(memory: &GuestMemory, range: PageRange) -> Result<vm_memory::VolatileSlice<'_, ()>> {
    let start = GuestAddress(u64::from(range.start) * PAGE_BYTES);
    let bytes = range.count as usize * PAGE;
    let slice = memory
        .ram()
        .get_slice(start, bytes)
        .map_err(|error| VmmError::Memory {
            cause: error.to_string(),
        })?;
    Ok(slice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{Backing, MemoryLayout, create_ram};
    use proptest::prelude::*;
    use std::io::{Seek, Write};
    use ukernel_abi::layout::MIN_MEMORY_MIB;
    use vm_memory::Bytes;

    fn layout() -> MemoryLayout {
        MemoryLayout::new(MIN_MEMORY_MIB, 0).expect("fits")
    }

    fn file() -> File {
        create_ram(layout()).expect("memfd")
    }

    fn fork_of(template: &File) -> GuestMemory {
        let ram = template.try_clone().expect("dup");
        GuestMemory::map(layout(), ram, Backing::Private, None).expect("map")
    }

    #[test]
    fn only_what_a_fork_wrote_is_kept_and_comes_back() {
        let template = file();
        for page in 0..64u64 {
            let text = format!("page {page}");
            template
                .write_all_at(text.as_bytes(), page * PAGE_BYTES)
                .expect("write");
        }
        let fork = fork_of(&template);
        let mut seen = [0u8; 6];
        fork.ram()
            .read_slice(&mut seen, GuestAddress(9 * PAGE_BYTES))
            .expect("read");
        assert_eq!(&seen, b"page 9");
        for page in [3u64, 4, 40] {
            fork.ram()
                .write_slice(b"fork", GuestAddress(page * PAGE_BYTES))
                .expect("write");
        }
        let written = PageMap::open()
            .expect("pagemap")
            .written(&fork)
            .expect("scan");
        let read = PageMap::open().expect("pagemap").read(&fork);
        assert_eq!(read.expect("read"), written, "both ways agree");
        let expected = [(3, 2), (40, 1)].map(|(start, count)| PageRange { start, count });
        assert_eq!(written, expected, "a page that was only read is not listed");

        let mut kept = tempfile();
        write(&fork, &written, &mut kept).expect("write");
        kept.rewind().expect("rewind");
        let again = fork_of(&template);
        apply(&again, &mut kept).expect("apply");
        let mut text = [0u8; 7];
        again
            .ram()
            .read_slice(&mut text, GuestAddress(40 * PAGE_BYTES))
            .expect("read");
        assert_eq!(&text, b"fork 40");
    }

    /// Prints what both ways cost: `cargo test -p ukernel-vmm --lib -- scan_times --nocapture`.
    #[test]
    fn both_ways_agree_on_large_memory_and_scan_times() {
        let layout = MemoryLayout::new(2304, 0).expect("fits");
        let template = create_ram(layout).expect("memfd");
        let template_bytes = vec![1; 40 << 20];
        template.write_all_at(&template_bytes, 0).expect("write");
        let fork = GuestMemory::map(layout, template, Backing::Private, None).expect("map");
        let write = |page: u64| {
            let at = GuestAddress(page * PAGE_BYTES);
            fork.ram().write_slice(b"fork", at).expect("write");
        };
        (0..2500).for_each(|n| write(2 * n));
        (500_000..502_000).for_each(write);
        write(layout.ram_pages() - 1);
        let pagemap = PageMap::open().expect("pagemap");
        let began = std::time::Instant::now();
        let read = pagemap.read(&fork).expect("read");
        let reading = began.elapsed();
        let began = std::time::Instant::now();
        let scanned = pagemap.scanned(&fork);
        println!("read {reading:?}, scanned {:?}", began.elapsed());
        assert_eq!(count(&read), 4501);
        match scanned {
            Ok(scanned) => assert_eq!(scanned, read),
            Err(error) => println!("SKIPPED: PAGEMAP_SCAN: {error}"),
        }
    }

    fn tempfile() -> File {
        rustix::fs::memfd_create("pages", rustix::fs::MemfdFlags::CLOEXEC)
            .expect("memfd")
            .into()
    }

    proptest! {
        /// Total: any file is applied or refused.
        #[test]
        fn any_file_is_decided(count in any::<u64>(), table in proptest::collection::vec(any::<u32>(), 0..40), small in any::<bool>()) {
            let mut kept = tempfile();
            let count = if small { table.len() as u64 } else { count };
            let mut bytes = MAGIC.to_vec();
            bytes.extend_from_slice(&VERSION.to_le_bytes());
            bytes.extend_from_slice(&count.to_le_bytes());
            for index in &table {
                let index = if small { index % 50_000 } else { *index };
                bytes.extend_from_slice(&index.to_le_bytes());
            }
            bytes.resize(bytes.len().next_multiple_of(PAGE), 0);
            kept.write_all(&bytes).expect("write");
            kept.rewind().expect("rewind");
            let _ = read_table(&mut kept, layout().ram_pages());
        }
    }
}
