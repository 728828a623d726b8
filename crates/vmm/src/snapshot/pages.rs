//! The pages a fork wrote, found in the page tables. [`super::diff`] keeps them.
//!
//! RAM of a fork is a private mapping of the template. A page it wrote is a private,
//! anonymous copy, which `/proc/self/pagemap` tells apart (bit 61 clear) from pages that
//! are still the template's.

use super::scan;
use crate::memory::GuestMemory;
use crate::{Result, VmmError};
use std::fs::File;
use std::os::unix::fs::FileExt;
use ukernel_abi::layout::PAGE_BYTES;

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

    /// Opens the page tables of another process, which must be one that this may trace.
    ///
    /// # Errors
    /// [`VmmError::Os`].
    pub fn of_process(process: u32) -> Result<Self> {
        let file = File::open(format!("/proc/{process}/pagemap"))
            .map_err(|error| VmmError::os("opening the page tables of a process", error))?;
        Ok(Self { file })
    }

    /// The pages of RAM this VM has written, in ascending order.
    ///
    /// # Errors
    /// [`VmmError::Os`].
    pub fn written(&self, memory: &GuestMemory) -> Result<Vec<PageRange>> {
        let base = memory.ram_region().as_ptr() as u64;
        self.written_at(base, memory.layout().ram_bytes())
    }

    /// The same for RAM of `bytes` bytes that the process has at `base`.
    ///
    /// # Errors
    /// [`VmmError::Os`].
    pub fn written_at(&self, base: u64, bytes: u64) -> Result<Vec<PageRange>> {
        // Before Linux 6.7, and where a filter forbids it, all entries are read.
        let scanned = self.scanned(base, bytes);
        scanned.or_else(|_| self.read(base, bytes / PAGE_BYTES))
    }

    fn scanned(&self, base: u64, bytes: u64) -> std::io::Result<Vec<PageRange>> {
        let mut written = Vec::new();
        let end = base + bytes;
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

    fn read(&self, base: u64, pages: u64) -> Result<Vec<PageRange>> {
        /// Entries read at a time.
        const BATCH: usize = 4096;
        let first = base / PAGE_BYTES;
        let total = usize::try_from(pages).unwrap_or(usize::MAX);
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
pub(super) fn push(ranges: &mut Vec<PageRange>, page: u32) {
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

/// The pages that are in one of two lists, in ascending order.
#[must_use]
pub fn union(one: &[PageRange], other: &[PageRange]) -> Vec<PageRange> {
    let mut all = [one, other].concat();
    all.sort_unstable();
    let end = |range: &PageRange| range.start.saturating_add(range.count);
    let mut joined: Vec<PageRange> = Vec::new();
    for range in all {
        match joined.last_mut() {
            Some(last) if range.start <= end(last) => {
                last.count = end(last).max(end(&range)) - last.start;
            }
            _ => joined.push(range),
        }
    }
    joined
}

/// Number of pages in `ranges`.
#[must_use]
pub fn count(ranges: &[PageRange]) -> u64 {
    ranges.iter().map(|range| u64::from(range.count)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{Backing, MemoryLayout, create_ram};
    use ukernel_abi::layout::MIN_MEMORY_MIB;
    use vm_memory::{Bytes, GuestAddress};

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
    fn a_union_has_every_page_once() {
        let ranges = |list: &[(u32, u32)]| -> Vec<PageRange> {
            let range = |&(start, count)| PageRange { start, count };
            list.iter().map(range).collect()
        };
        let one = ranges(&[(1, 2), (8, 8), (20, 1)]);
        let other = ranges(&[(3, 1), (9, 2), (15, 2), (22, 1), (22, 1)]);
        let both = ranges(&[(1, 3), (8, 9), (20, 1), (22, 1)]);
        assert_eq!(union(&one, &other), both);
        assert_eq!(union(&other, &one), both);
        assert_eq!(union(&[], &[]), []);
    }

    #[test]
    fn only_what_a_fork_wrote_is_found() {
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
        let (base, _) = place(&fork);
        let pages = fork.layout().ram_pages();
        let read = PageMap::open().expect("pagemap").read(base, pages);
        assert_eq!(read.expect("read"), written, "both ways agree");
        let expected = [(3, 2), (40, 1)].map(|(start, count)| PageRange { start, count });
        assert_eq!(written, expected, "a page that was only read is not listed");
    }

    /// Where a VM's RAM is, and how much of it there is.
    fn place(memory: &GuestMemory) -> (u64, u64) {
        let base = memory.ram_region().as_ptr() as u64;
        (base, memory.layout().ram_bytes())
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
        let (base, bytes) = place(&fork);
        let read = pagemap.read(base, bytes / PAGE_BYTES).expect("read");
        let reading = began.elapsed();
        let began = std::time::Instant::now();
        let scanned = pagemap.scanned(base, bytes);
        println!("read {reading:?}, scanned {:?}", began.elapsed());
        assert_eq!(count(&read), 4501);
        match scanned {
            Ok(scanned) => assert_eq!(scanned, read),
            Err(error) => println!("SKIPPED: PAGEMAP_SCAN: {error}"),
        }
    }
}
