//! Files without a name, which nobody has to remove, and how Firecracker reaches them.

use rustix::fs::{MemfdFlags, memfd_create};
use std::fs::File;
use std::io::{Error, ErrorKind, Result};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use ukernel_abi::layout::PAGE_BYTES;
use ukernel_vmm::sparse;

/// A page that shares a large page with others, if a file has such.
const PROBED_PAGE: u64 = 5;

/// A file in memory: Firecracker syncs what it writes, for which disks take milliseconds.
pub(super) fn in_memory() -> Result<File> {
    Ok(memfd_create("ukernel-snapshot", MemfdFlags::CLOEXEC)?.into())
}

/// A file of `length` bytes whose holes are exactly the pages nobody has written.
pub(super) fn exact(run_dir: &Path, length: u64) -> Result<File> {
    let on_disk = || tempfile::tempfile_in(run_dir);
    let ways: [&dyn Fn() -> Result<File>; 2] = [&in_memory, &on_disk];
    for make in ways {
        let file = make()?;
        if is_exact(&file, length)? {
            return Ok(file);
        }
    }
    let why = "no file system here tells which pages of a file were written";
    Err(Error::new(ErrorKind::Unsupported, why))
}

/// Tries it: hosts may be set up to keep files in large pages.
fn is_exact(file: &File, length: u64) -> Result<bool> {
    file.set_len(length)?;
    let start = PROBED_PAGE * PAGE_BYTES;
    file.write_all_at(&[1; PAGE_BYTES as usize], start)?;
    let mut found = Vec::new();
    sparse::extents(file, length, |start, end| {
        found.push((start, end));
        Ok(())
    })?;
    file.set_len(0)?;
    file.set_len(length)?;
    Ok(found == [(start, start + PAGE_BYTES)])
}

/// A path by which other processes of this user open a file of this process.
pub(super) fn path(file: &File) -> PathBuf {
    let (process, number) = (std::process::id(), file.as_raw_fd());
    PathBuf::from(format!("/proc/{process}/fd/{number}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_page_is_told_from_its_neighbours() {
        let folder = tempfile::tempdir().expect("folder");
        let length = 64 << 20;
        let file = exact(folder.path(), length).expect("a file");
        let other = File::options().write(true).open(path(&file));
        let zeros = [0; PAGE_BYTES as usize];
        let written = [0, 7, 600].map(|page| page * PAGE_BYTES);
        let other = other.expect("reached by its path");
        for start in written {
            other.write_all_at(&zeros, start).expect("written");
        }
        let mut found = Vec::new();
        let each = |start, end| {
            found.push((start, end));
            Ok(())
        };
        sparse::extents(&file, length, each).expect("extents");
        assert_eq!(found, written.map(|start| (start, start + PAGE_BYTES)));
    }
}
