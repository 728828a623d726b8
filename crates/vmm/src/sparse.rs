//! Files that are mostly holes.

use rustix::fs::{SeekFrom, ioctl_ficlone, seek};
use rustix::io::Errno;
use std::fs::File;
use std::io::Result;
use std::os::unix::fs::FileExt;

/// Bytes copied at once.
const PIECE_BYTES: usize = 1 << 20;

/// Makes the empty file `target` a copy of `source`. Where the file system can, they share what
/// they store; elsewhere the holes stay holes.
///
/// # Errors
/// What reading or writing gave.
pub fn copy(source: &File, target: &File) -> Result<()> {
    if ioctl_ficlone(target, source).is_ok() {
        return Ok(());
    }
    let length = source.metadata()?.len();
    target.set_len(length)?;
    let mut buffer = vec![0; PIECE_BYTES];
    extents(source, length, |start, end| {
        for at in (start..end).step_by(PIECE_BYTES) {
            let left = usize::try_from(end - at).unwrap_or(usize::MAX);
            let piece = &mut buffer[..left.min(PIECE_BYTES)];
            source.read_exact_at(piece, at)?;
            target.write_all_at(piece, at)?;
        }
        Ok(())
    })
}

/// Calls `each` with start and end of every part of the first `length` bytes that is no hole.
/// The file system may call holes what was written as zeros, and data what was not written.
///
/// # Errors
/// Those of the system and of `each`.
pub fn extents(
    file: &File,
    length: u64,
    mut each: impl FnMut(u64, u64) -> Result<()>,
) -> Result<()> {
    let mut position = 0;
    while position < length {
        let start = match seek(file, SeekFrom::Data(position)) {
            Ok(start) => start,
            Err(Errno::NXIO) => break,
            Err(error) => return Err(error.into()),
        };
        position = seek(file, SeekFrom::Hole(start))?.min(length);
        if start >= position {
            break;
        }
        each(start, position)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{MemfdFlags, memfd_create};
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_copy_is_equal_and_sparse() {
        let file = || File::from(memfd_create("copy", MemfdFlags::CLOEXEC).expect("memfd"));
        let (source, target) = (file(), file());
        let length = 64 << 20;
        source.set_len(length).expect("size");
        source.write_all_at(b"start", 0).expect("write");
        source.write_all_at(b"end", length - 3).expect("write");
        copy(&source, &target).expect("copy");
        let mut end = [0; 3];
        target.read_exact_at(&mut end, length - 3).expect("read");
        assert_eq!(&end, b"end");
        let metadata = target.metadata().expect("metadata");
        assert_eq!(metadata.len(), length);
        assert!(metadata.blocks() * 512 < 1 << 20, "only what holds data");
    }
}
