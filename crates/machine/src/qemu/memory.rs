//! RAM of a machine, seen from outside of its process.

use super::failure;
use crate::{MachineError, Result};
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use ukernel_abi::layout::PAGE_BYTES;
use ukernel_vmm::difference::{self, PageMap, PageRange};

/// Bytes copied at once.
const PIECE_BYTES: usize = 1 << 20;

/// The private mapping a process has of a template.
#[derive(Debug)]
pub(super) struct Mapping {
    pages: PageMap,
    /// `/proc/PID/mem`.
    memory: File,
    base: u64,
    bytes: u64,
}

impl Mapping {
    /// Finds it.
    pub(super) fn find(process: u32, template: &File) -> Result<Self> {
        let failed = |error| MachineError::io("looking into a QEMU process", error);
        let metadata = template.metadata().map_err(failed)?;
        let maps = std::fs::read_to_string(format!("/proc/{process}/maps")).map_err(failed)?;
        let base = base_of(&maps, metadata.ino(), metadata.len());
        let memory = File::options()
            .read(true)
            .write(true)
            .open(format!("/proc/{process}/mem"))
            .map_err(failed)?;
        Ok(Self {
            pages: PageMap::of_process(process)?,
            memory,
            base: base.ok_or_else(|| failure("its guest's memory is not where it was put"))?,
            bytes: metadata.len(),
        })
    }

    /// Copies what the process has written of a paused guest's memory into a file, each page to its place.
    pub(super) fn gather(&self, into: &File) -> Result<Vec<PageRange>> {
        let failed = |error| MachineError::io("copying a guest's memory", error);
        let written = self.pages.written_at(self.base, self.bytes)?;
        let mut buffer = vec![0; PIECE_BYTES];
        for range in &written {
            let start = u64::from(range.start) * PAGE_BYTES;
            let end = start + u64::from(range.count) * PAGE_BYTES;
            for at in (start..end).step_by(PIECE_BYTES) {
                let left = usize::try_from(end - at).unwrap_or(usize::MAX);
                let piece = &mut buffer[..left.min(PIECE_BYTES)];
                self.memory
                    .read_exact_at(piece, self.base + at)
                    .and_then(|()| into.write_all_at(piece, at))
                    .map_err(failed)?;
            }
        }
        Ok(written)
    }

    /// Puts a difference from the template into the memory of a guest that does not run yet.
    pub(super) fn apply(&self, pages: &mut File) -> Result<()> {
        difference::apply_at(&self.memory, self.base, self.bytes / PAGE_BYTES, pages)?;
        Ok(())
    }
}

/// Where `/proc/PID/maps` says that a file is mapped whole.
fn base_of(maps: &str, inode: u64, bytes: u64) -> Option<u64> {
    let mut found: Option<(u64, u64)> = None;
    for line in maps.lines() {
        let mut fields = line.split_ascii_whitespace();
        let (range, _, _, _) = (
            fields.next()?,
            fields.next()?,
            fields.next()?,
            fields.next()?,
        );
        if fields.next()?.parse() != Ok(inode) {
            continue;
        }
        let (start, end) = range.split_once('-')?;
        let start = u64::from_str_radix(start, 16).ok()?;
        let end = u64::from_str_radix(end, 16).ok()?;
        // It may be in pieces that were told different things.
        found = match found {
            None => Some((start, end)),
            Some((first, last)) if last == start => Some((first, end)),
            Some(_) => return None,
        };
    }
    found.and_then(|(start, end)| (end - start == bytes).then_some(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mapping_is_found_whole_or_not_at_all() {
        let line = |range: &str, inode: u64| {
            format!("{range} rw-p 00000000 00:01 {inode}   /memfd:ram (deleted)\n")
        };
        let maps = line("1000-3000", 7) + &line("3000-4000", 7) + &line("9000-a000", 8);
        assert_eq!(base_of(&maps, 7, 0x3000), Some(0x1000));
        assert_eq!(base_of(&maps, 7, 0x2000), None);
        assert_eq!(base_of(&maps, 9, 0x1000), None);
        let torn = line("1000-2000", 7) + &line("3000-4000", 7);
        assert_eq!(base_of(&torn, 7, 0x2000), None);
        assert_eq!(base_of("nonsense\n", 7, 1), None);
    }
}
