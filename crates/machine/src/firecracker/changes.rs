//! What a fork has changed in its memory.
//!
//! Firecracker tells with each snapshot which pages were written since the one before, and then
//! forgets it. So it is gathered here, for as long as the machine lives:
//!
//! ```text
//!   template ── copy ──> memory <── apply ── difference      a restored machine
//!                          │ <──────── pages ─────────────── each snapshot Firecracker takes
//!   template ── compare ── │ ──> difference                  what is written down
//! ```

use super::unnamed;
use crate::{MachineError, Result};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use ukernel_abi::layout::PAGE_BYTES;
use ukernel_vmm::difference::{self, PageRange};
use ukernel_vmm::sparse;

/// Bytes copied at once.
const PIECE_BYTES: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct Changes {
    /// The template's memory.
    template: Arc<File>,
    /// Holds the pages of `written` as they were at the last snapshot. Firecracker has mapped
    /// that of a restored machine, and copied the pages that are written here.
    memory: Option<File>,
    written: Vec<PageRange>,
    /// A snapshot was begun, and what Firecracker told with it is not yet gathered.
    is_behind: bool,
}

impl Changes {
    /// Those of a machine that is as the template.
    pub(super) fn none(template: Arc<File>) -> Self {
        Self {
            template,
            memory: None,
            written: Vec::new(),
            is_behind: false,
        }
    }

    /// Those written down in `pages`, and the memory to be mapped.
    pub(super) fn read(
        template: Arc<File>,
        pages: &mut File,
        run_dir: &Path,
    ) -> Result<(Self, File)> {
        let failed =
            |error| MachineError::io(format!("copying memory in {}", run_dir.display()), error);
        let memory = tempfile::tempfile_in(run_dir).map_err(failed)?;
        sparse::copy(&template, &memory).map_err(failed)?;
        let written = difference::apply(&memory, pages)?;
        let mapped = memory.try_clone().map_err(failed)?;
        let changes = Self {
            memory: Some(memory),
            written,
            ..Self::none(template)
        };
        Ok((changes, mapped))
    }

    /// Where Firecracker may write the pages of a snapshot. To be given to [`Self::gather`].
    pub(super) fn expect(&mut self, run_dir: &Path) -> Result<File> {
        if self.is_behind {
            return Err(MachineError::Firecracker {
                cause: "a snapshot failed, and what this machine had changed is no longer known: \
                        restore the snapshot before"
                    .to_owned(),
            });
        }
        let length = self.template.metadata();
        let file = length.and_then(|template| unnamed::exact(run_dir, template.len()));
        let file = file.map_err(|error| MachineError::io("making a file for a snapshot", error))?;
        self.is_behind = true;
        Ok(file)
    }

    /// Takes over what Firecracker wrote.
    pub(super) fn gather(&mut self, news: &File, run_dir: &Path) -> Result<()> {
        let failed = |error| MachineError::io("gathering the pages of a snapshot", error);
        let memory = match self.memory.take() {
            Some(memory) => memory,
            None => tempfile::tempfile_in(run_dir).map_err(failed)?,
        };
        let memory = self.memory.insert(memory);
        let mut found = Vec::new();
        let mut buffer = vec![0; PIECE_BYTES];
        let length = news.metadata().map_err(failed)?.len();
        sparse::extents(news, length, |start, end| {
            found.push(range(start, end));
            for at in (start..end).step_by(PIECE_BYTES) {
                let left = usize::try_from(end - at).unwrap_or(usize::MAX);
                let piece = &mut buffer[..left.min(PIECE_BYTES)];
                news.read_exact_at(piece, at)?;
                memory.write_all_at(piece, at)?;
            }
            Ok(())
        })
        .map_err(failed)?;
        self.written = difference::union(&self.written, &found);
        self.is_behind = false;
        Ok(())
    }

    /// Writes down what differs from the template.
    pub(super) fn write(&self, pages: &mut File) -> Result<()> {
        let memory = self.memory.as_ref().unwrap_or(&self.template);
        difference::write(&self.template, memory, &self.written, pages)?;
        Ok(())
    }
}

/// The pages of an extent, which are whole.
fn range(start: u64, end: u64) -> PageRange {
    let page = |address: u64| u32::try_from(address / PAGE_BYTES).unwrap_or(u32::MAX);
    PageRange {
        start: page(start),
        count: page(end) - page(start),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Seek;
    use tempfile::{TempDir, tempdir, tempfile};

    const PAGE: usize = PAGE_BYTES as usize;
    const PAGES: usize = 64;

    struct Guest {
        run_dir: TempDir,
        template: Arc<File>,
        memory: Vec<u8>,
    }

    impl Guest {
        fn new() -> Self {
            let template = tempfile().expect("file");
            template.set_len((PAGES * PAGE) as u64).expect("size");
            template.write_all_at(&[7; 40 * PAGE], 0).expect("written");
            let mut memory = vec![7; 40 * PAGE];
            memory.resize(PAGES * PAGE, 0);
            Self {
                run_dir: tempdir().expect("folder"),
                template: Arc::new(template),
                memory,
            }
        }

        /// Writes to memory and takes a snapshot, as Firecracker does.
        fn change(&mut self, changes: &mut Changes, page: usize, byte: u8) {
            let range = page * PAGE..(page + 1) * PAGE;
            self.memory[range.clone()].fill(byte);
            let news = changes.expect(self.run_dir.path()).expect("a file");
            news.write_all_at(&self.memory[range], (page * PAGE) as u64)
                .expect("written");
            changes
                .gather(&news, self.run_dir.path())
                .expect("gathered");
        }

        /// Writes the changes down and reads them again.
        fn again(&self, changes: &Changes) -> (Changes, u64) {
            let mut pages = tempfile().expect("file");
            changes.write(&mut pages).expect("written down");
            let bytes = pages.metadata().expect("stat").len();
            pages.rewind().expect("rewound");
            let template = Arc::clone(&self.template);
            let (changes, mapped) =
                Changes::read(template, &mut pages, self.run_dir.path()).expect("read");
            let mut memory = vec![1; self.memory.len()];
            mapped.read_exact_at(&mut memory, 0).expect("read");
            assert!(memory == self.memory);
            (changes, bytes)
        }
    }

    #[test]
    fn changes_of_all_snapshots_are_written_down() {
        let mut guest = Guest::new();
        let mut changes = Changes::none(Arc::clone(&guest.template));
        let (_, nothing) = guest.again(&changes);
        guest.change(&mut changes, 3, 1);
        guest.change(&mut changes, 50, 2);
        guest.again(&changes);
        guest.change(&mut changes, 50, 0);
        let (mut changes, _) = guest.again(&changes);
        guest.change(&mut changes, 4, 9);
        guest.again(&changes);
        for page in [3, 4] {
            guest.change(&mut changes, page, 7);
        }
        let (_, bytes) = guest.again(&changes);
        assert_eq!(bytes, nothing, "all is the template's again");
    }

    #[test]
    fn a_snapshot_that_failed_is_the_last() {
        let guest = Guest::new();
        let mut changes = Changes::none(Arc::clone(&guest.template));
        changes.expect(guest.run_dir.path()).expect("a file");
        assert!(changes.expect(guest.run_dir.path()).is_err());
    }
}
