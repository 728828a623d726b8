//! A state of a VM on disk: a folder a machine wrote, and the digest of its files.
//!
//! Folders never change once they have their name, so forks share them by hard links. They
//! are not forced to the disk: they survive the end of any process, and after a loss of power
//! the digest tells what was lost.

use crate::{Result, SandboxError};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Most files a backend writes for one state.
const MAX_FILES: usize = 8;

/// What is known of a stored state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seal {
    /// BLAKE3 over names, lengths and contents.
    digest: String,
    /// Length of all files.
    pub(super) bytes: u64,
}

impl Seal {
    /// Reads and digests a folder.
    pub(super) fn of(folder: &Path) -> Result<Self> {
        let failed =
            |error: io::Error| SandboxError::io(format!("reading {}", folder.display()), error);
        let mut paths: Vec<PathBuf> = fs::read_dir(folder)
            .map_err(failed)?
            .take(MAX_FILES)
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<io::Result<_>>()
            .map_err(failed)?;
        paths.sort();
        let mut hasher = blake3::Hasher::new();
        let mut bytes = 0;
        for path in paths {
            let name = path.file_name().unwrap_or_default();
            let length = fs::metadata(&path).map_err(failed)?.len();
            hasher.update(&(name.len() as u64).to_le_bytes());
            hasher.update(name.as_encoded_bytes());
            hasher.update(&length.to_le_bytes());
            let file = fs::File::open(&path).map_err(failed)?;
            hasher.update_reader(file).map_err(failed)?;
            bytes += length;
        }
        Ok(Self {
            digest: hasher.finalize().to_hex().to_string(),
            bytes,
        })
    }

    /// Refuses a folder that is not what was sealed.
    pub(super) fn check(&self, folder: &Path, what: &str) -> Result<()> {
        let damaged = |cause: String| SandboxError::Damaged {
            what: what.to_owned(),
            cause,
        };
        let found = Self::of(folder).map_err(|error| damaged(error.to_string()))?;
        if found == *self {
            Ok(())
        } else {
            Err(damaged("its checksum does not match".to_owned()))
        }
    }
}

/// Fills a folder that gets its name only when `write` has succeeded: half a state is never
/// seen. What stands at `folder` already is left from a failed attempt and is replaced.
pub(super) fn write_whole(folder: &Path, write: impl FnOnce(&Path) -> Result<()>) -> Result<Seal> {
    let failed =
        |error: io::Error| SandboxError::io(format!("writing {}", folder.display()), error);
    let parent = folder.parent().unwrap_or(Path::new("."));
    let unfinished = tempfile::Builder::new()
        .prefix(".unfinished-")
        .tempdir_in(parent)
        .map_err(failed)?;
    write(unfinished.path())?;
    let seal = Seal::of(unfinished.path())?;
    remove(folder).map_err(failed)?;
    fs::rename(unfinished.path(), folder).map_err(failed)?;
    // It has another name now.
    let _ = unfinished.keep();
    Ok(seal)
}

/// Makes `target` the same state as `source`, sharing its files.
pub(super) fn link(source: &Path, target: &Path) -> Result<()> {
    write_whole(target, |folder| {
        let copy = || -> io::Result<()> {
            for entry in fs::read_dir(source)?.take(MAX_FILES) {
                let from = entry?.path();
                let to = folder.join(from.file_name().unwrap_or_default());
                // File systems without hard links get a copy.
                fs::hard_link(&from, &to).or_else(|_| fs::copy(&from, &to).map(|_| ()))?;
            }
            Ok(())
        };
        copy().map_err(|error| SandboxError::io(format!("copying {}", source.display()), error))
    })
    .map(|_| ())
}

/// Removes a folder, if it is there.
pub(super) fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(root: &Path) -> (PathBuf, Seal) {
        let folder = root.join("state");
        let seal = write_whole(&folder, |folder| {
            fs::write(folder.join("pages"), b"abc").expect("written");
            fs::write(folder.join("state"), b"defg").expect("written");
            Ok(())
        });
        (folder, seal.expect("sealed"))
    }

    #[test]
    fn damage_is_noticed() {
        let root = tempfile::tempdir().expect("a folder");
        let (folder, seal) = stored(root.path());
        assert_eq!(seal.bytes, 7);
        seal.check(&folder, "it").expect("whole");
        for damage in [&b"abd"[..], b"ab", b"", b"abcd"] {
            fs::write(folder.join("pages"), damage).expect("written");
            assert!(seal.check(&folder, "it").is_err(), "{damage:?}");
        }
        fs::remove_file(folder.join("pages")).expect("removed");
        assert!(seal.check(&folder, "it").is_err());
    }

    #[test]
    fn a_failed_write_leaves_nothing() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = root.path().join("state");
        let failed = write_whole(&folder, |folder| {
            fs::write(folder.join("pages"), b"abc").expect("written");
            Err(SandboxError::Stopping)
        });
        assert!(failed.is_err());
        assert_eq!(fs::read_dir(root.path()).expect("a folder").count(), 0);
    }

    #[test]
    fn a_linked_state_outlives_its_source() {
        let root = tempfile::tempdir().expect("a folder");
        let (folder, seal) = stored(root.path());
        let target = root.path().join("twin");
        link(&folder, &target).expect("linked");
        remove(&folder).expect("removed");
        seal.check(&target, "the twin").expect("whole");
    }
}
