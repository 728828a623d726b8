//! From a file into memory.

use super::read::{apply_parts, read_head};
use super::{BATCH, PAGE, batches, slice_of};
use crate::memory::GuestMemory;
use crate::snapshot::pages::{self, PageRange};
use crate::snapshot::working_set::WorkingSet;
use crate::{Result, VmmError};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use ukernel_abi::layout::PAGE_BYTES;
use vm_memory::{Bytes, GuestAddress, ReadVolatile};

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
    for batch in whole.into_iter().flat_map(batches) {
        // Page by page, the faults would cost four times the copying; all at once, the pages
        // would have left the processor's cache before they are filled.
        let populated = WorkingSet {
            written: vec![batch],
        };
        populated.populate(memory)?;
        let mut slice = slice_of(memory, batch)?;
        file.read_exact_volatile(&mut slice)
            .map_err(|error| VmmError::Memory {
                cause: format!("reading the pages of a snapshot: {error}"),
            })?;
    }
    Ok(())
}

/// Puts the difference kept in `difference` into `memory`, a copy of the template's whose first
/// page is that at address 0. Returns the pages that it names, in ascending order.
///
/// # Errors
/// [`VmmError::BadDiff`], [`VmmError::Os`].
pub fn apply_to_file(memory: &File, difference: &mut File) -> Result<Vec<PageRange>> {
    let metadata = memory.metadata();
    let bytes = metadata.map_err(failed)?.len();
    apply_at(memory, 0, bytes / PAGE_BYTES, difference)
}

/// The same for memory of `ram_pages` pages that begins at `base` of a file, which may be
/// `/proc/PID/mem`.
///
/// # Errors
/// As [`apply_to_file`].
pub fn apply_at(
    memory: &File,
    base: u64,
    ram_pages: u64,
    difference: &mut File,
) -> Result<Vec<PageRange>> {
    let (whole, parts) = read_head(difference, ram_pages)?;
    let mut in_part = Vec::new();
    apply_parts(&parts, ram_pages, |address, content| {
        // Below `ram_pages`, of which a file has fewer than 2^32.
        #[expect(clippy::cast_possible_truncation)]
        let start = (address / PAGE_BYTES) as u32;
        in_part.push(PageRange { start, count: 1 });
        memory.write_all_at(content, base + address).map_err(failed)
    })?;
    let mut content = vec![0; BATCH as usize * PAGE];
    for batch in whole.iter().copied().flat_map(batches) {
        let content = &mut content[..batch.count as usize * PAGE];
        difference
            .read_exact(content)
            .map_err(|error| VmmError::os("reading the pages of a snapshot", error))?;
        memory
            .write_all_at(content, base + u64::from(batch.start) * PAGE_BYTES)
            .map_err(failed)?;
    }
    Ok(pages::union(&whole, &in_part))
}

fn failed(error: std::io::Error) -> VmmError {
    VmmError::os("writing memory that has changed", error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{Backing, MemoryLayout, create_ram};
    use crate::snapshot::diff::{write, write_from_file};
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

        /// And into a file and out of it, too.
        #[test]
        fn a_difference_of_files_comes_back(writes in proptest::collection::vec(
            (0..16 * PAGE_BYTES - 3000, proptest::collection::vec(any::<u8>(), 1..3000)), 0..12)) {
            let [template, changed, again, mut kept, mut twice] = std::array::from_fn(|_| new_file());
            for memory in [&template, &changed, &again] {
                memory.set_len(16 * PAGE_BYTES).expect("size");
                memory.write_all_at(&[1; 9 * PAGE], 0).expect("written");
            }
            for (at, bytes) in &writes {
                changed.write_all_at(bytes, *at).expect("write");
            }
            let all = [PageRange { start: 0, count: 16 }];
            let count = write_from_file(&template, &changed, &all, &mut kept).expect("write");
            kept.rewind().expect("rewind");
            let named = apply_to_file(&again, &mut kept).expect("apply");
            prop_assert_eq!(pages::count(&named), count);
            let bytes = |file: &File| {
                let mut bytes = vec![0; file.metadata().expect("stat").len() as usize];
                file.read_exact_at(&mut bytes, 0).expect("read");
                bytes
            };
            prop_assert!(bytes(&again) == bytes(&changed));
            write_from_file(&template, &again, &named, &mut twice).expect("write");
            prop_assert!(bytes(&twice) == bytes(&kept), "what is named is all that differs");
        }
    }
}
