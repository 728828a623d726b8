//! From memory into a file.

use super::{BATCH, MAGIC, MAX_PARTS_BYTES, PAGE, VERSION, WORD, WORDS, batches, slice_of};
use crate::memory::GuestMemory;
use crate::snapshot::pages::{self, PageRange};
use crate::{Result, VmmError};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use ukernel_abi::layout::PAGE_BYTES;
use vm_memory::{Bytes, GuestAddress, GuestMemoryRegion, WriteVolatile};

/// A part larger than this is not worth it: the page is kept whole.
const MAX_PART_BYTES: usize = PAGE / 4;

/// Writes the difference between the pages of `ranges` and the template to `file`, from where
/// it stands. Returns the number of pages that differ.
///
/// # Errors
/// [`VmmError::Os`], [`VmmError::Memory`].
pub fn write(memory: &GuestMemory, ranges: &[PageRange], file: &mut File) -> Result<u64> {
    let region = memory.ram_region();
    let Some(template) = region.file_offset() else {
        return Err(VmmError::Memory {
            cause: "RAM is no file's".to_owned(),
        });
    };
    let old = Template {
        file: template.file(),
        start: template.start(),
    };
    write_difference(&old, memory, ranges, file)
}

/// As [`write`], of memory kept in a file. Both files start with the page at address 0.
///
/// # Errors
/// [`VmmError::Os`].
pub fn write_from_file(
    template: &File,
    memory: &File,
    ranges: &[PageRange],
    file: &mut File,
) -> Result<u64> {
    let old = Template {
        file: template,
        start: 0,
    };
    write_difference(&old, memory, ranges, file)
}

/// The memory all forks started with.
struct Template<'a> {
    file: &'a File,
    /// Where in the file it starts.
    start: u64,
}

/// Memory that has changed.
trait Changed {
    /// Copies a page.
    fn read(&self, page: u32, into: &mut [u8; PAGE]) -> Result<()>;

    /// Appends pages to `file`.
    fn append(&self, range: PageRange, file: &mut File) -> Result<()>;
}

impl Changed for GuestMemory {
    fn read(&self, page: u32, into: &mut [u8; PAGE]) -> Result<()> {
        let address = GuestAddress(u64::from(page) * PAGE_BYTES);
        self.ram()
            .read_slice(into, address)
            .map_err(|error| VmmError::Memory {
                cause: error.to_string(),
            })
    }

    fn append(&self, range: PageRange, file: &mut File) -> Result<()> {
        file.write_all_volatile(&slice_of(self, range)?)
            .map_err(|error| VmmError::Memory {
                cause: format!("writing the pages of a snapshot: {error}"),
            })
    }
}

impl Changed for File {
    fn read(&self, page: u32, into: &mut [u8; PAGE]) -> Result<()> {
        self.read_exact_at(into, u64::from(page) * PAGE_BYTES)
            .map_err(|error| VmmError::os("reading memory that has changed", error))
    }

    fn append(&self, range: PageRange, file: &mut File) -> Result<()> {
        let mut pages = vec![0; BATCH as usize * PAGE];
        for batch in batches(range) {
            let pages = &mut pages[..batch.count as usize * PAGE];
            self.read_exact_at(pages, u64::from(batch.start) * PAGE_BYTES)
                .and_then(|()| file.write_all(pages))
                .map_err(|error| VmmError::os("writing the pages of a snapshot", error))?;
        }
        Ok(())
    }
}

fn write_difference(
    old: &Template<'_>,
    new: &impl Changed,
    ranges: &[PageRange],
    file: &mut File,
) -> Result<u64> {
    let found = Difference::find(old, new, ranges)?;
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
        new.append(*range, file)?;
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
    fn find(template: &Template<'_>, new: &impl Changed, ranges: &[PageRange]) -> Result<Self> {
        let mut found = Self::default();
        let mut old = vec![0; BATCH as usize * PAGE];
        for batch in ranges.iter().copied().flat_map(batches) {
            let old = &mut old[..batch.count as usize * PAGE];
            template
                .file
                .read_exact_at(old, template.start + u64::from(batch.start) * PAGE_BYTES)
                .map_err(|error| VmmError::os("reading the template's memory", error))?;
            for (page, old) in (batch.start..).zip(old.as_chunks::<PAGE>().0) {
                found.compare(new, page, old)?;
            }
        }
        Ok(found)
    }

    fn compare(&mut self, memory: &impl Changed, page: u32, old: &[u8; PAGE]) -> Result<()> {
        let mut new = [0; PAGE];
        memory.read(page, &mut new)?;
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
