//! The digest of a file, in time that grows with what it holds and not with its length: the
//! memory of a VM is gigabytes long and mostly holes.
//!
//! Digested are the blocks that are not all zeros, each behind its number, and the length.
//! So a file has the same digest wherever a file system makes holes of its zeros.

use crate::{ImageError, Result};
use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

const BLOCK_BYTES: usize = 64 << 10;

/// Digest of the file at `path`, in hexadecimal; empty if there is none.
pub(super) fn digest(path: &Path) -> Result<String> {
    match File::open(path) {
        Ok(file) => of_file(&file).map_err(|error| ImageError::file(path, error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(ImageError::file(path, error)),
    }
}

fn of_file(file: &File) -> io::Result<String> {
    let length = file.metadata()?.len();
    let mut hasher = blake3::Hasher::new();
    let mut block = vec![0; BLOCK_BYTES];
    let mut position = 0;
    while let Some(data) = next_data(file, position, length)? {
        let number = data / BLOCK_BYTES as u64;
        position = number * BLOCK_BYTES as u64;
        let here = (length - position).min(BLOCK_BYTES as u64);
        let block = &mut block[..usize::try_from(here).unwrap_or(BLOCK_BYTES)];
        file.read_exact_at(block, position)?;
        if block.iter().any(|byte| *byte != 0) {
            hasher.update(&number.to_le_bytes()).update(block);
        }
        position += here;
    }
    hasher.update(&length.to_le_bytes());
    Ok(hasher.finalize().to_hex().to_string())
}

/// The first byte from `position` on that is not in a hole.
fn next_data(file: &File, position: u64, length: u64) -> io::Result<Option<u64>> {
    if position >= length {
        return Ok(None);
    }
    match seek(file, SeekFrom::Data(position)) {
        Ok(data) => Ok((data < length).then_some(data)),
        Err(Errno::NXIO) => Ok(None),
        // A file system that knows no holes.
        Err(Errno::INVAL) => Ok(Some(position)),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn holes_are_zeros_and_everything_counts() {
        let folder = tempfile::tempdir().expect("folder");
        let path = |name: &str| folder.path().join(name);
        let length = 40 * BLOCK_BYTES + 100;
        let mut content = vec![0; length];
        content[3 * BLOCK_BYTES + 5] = 1;
        content[length - 1] = 2;
        std::fs::write(path("full"), &content).expect("write");
        let mut sparse = File::create(path("sparse")).expect("create");
        sparse.set_len(length as u64).expect("length");
        for at in [3 * BLOCK_BYTES + 5, length - 1] {
            sparse
                .write_all_at(&content[at..=at], at as u64)
                .expect("write");
        }
        let of = |name: &str| digest(&path(name)).expect("digest");
        assert_eq!(of("full"), of("sparse"));
        content[20 * BLOCK_BYTES] = 1;
        std::fs::write(path("other"), &content).expect("write");
        assert_ne!(of("full"), of("other"));
        sparse.set_len(length as u64 + 1).expect("length");
        sparse.flush().expect("flush");
        assert_ne!(of("full"), of("sparse"), "the length counts");
        assert_eq!(of("none"), "");
    }
}
