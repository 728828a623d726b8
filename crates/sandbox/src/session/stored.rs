//! A state of a VM on disk: a folder a machine wrote, and the digest of its files.
//!
//! Folders never change while they have their name, so forks share them by hard links; the files
//! of one that nobody needs or shares any more are written over. They are not forced to the disk:
//! they survive the end of any process, and after a loss of power the digest tells what was lost.

use crate::{Result, SandboxError};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use ukernel_machine::file;

/// Most files a backend writes for one state.
const MAX_FILES: usize = 8;

/// Beginning of the names of folders that hold no state yet, or none any more.
pub(super) const UNFINISHED: &str = ".unfinished-";

/// A state larger than this is not kept to be written over.
const MAX_SPARE_BYTES: u64 = 64 << 20;

/// What is known of a stored state.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Seal {
    /// BLAKE3 over names, lengths and contents.
    digest: String,
    /// Length of all files.
    pub(super) bytes: u64,
    /// The files when they were digested by this process: as long as these are theirs, the
    /// digest is. Links have them in common.
    #[serde(skip)]
    stamps: Vec<Stamp>,
}

/// Inode, length and time of the last change of a file's content.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            bytes: metadata.len(),
            changed: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

impl Seal {
    /// Reads and digests a folder.
    pub(super) fn of(folder: &Path) -> Result<Self> {
        let failed =
            |error: io::Error| SandboxError::io(format!("reading {}", folder.display()), error);
        let mut hasher = blake3::Hasher::new();
        let mut bytes = 0;
        let mut stamps = Vec::new();
        for path in files_of(folder).map_err(failed)? {
            let name = path.file_name().unwrap_or_default();
            let file = file::open(&path).map_err(failed)?;
            let metadata = file.metadata().map_err(failed)?;
            let length = metadata.len();
            stamps.push(Stamp::of(&metadata));
            hasher.update(&(name.len() as u64).to_le_bytes());
            hasher.update(name.as_encoded_bytes());
            hasher.update(&length.to_le_bytes());
            hasher.update_reader(file).map_err(failed)?;
            bytes += length;
        }
        Ok(Self {
            digest: hasher.finalize().to_hex().to_string(),
            bytes,
            stamps,
        })
    }

    /// Whether the files are those this process has digested.
    pub(super) fn is_fresh(&self, folder: &Path) -> bool {
        let stamps = || -> io::Result<Vec<Stamp>> {
            let files = files_of(folder)?.into_iter();
            files
                .map(|path| Ok(Stamp::of(&fs::symlink_metadata(path)?)))
                .collect()
        };
        !self.stamps.is_empty() && stamps().is_ok_and(|stamps| stamps == self.stamps)
    }

    /// Refuses a folder that is not what was sealed.
    pub(super) fn check(&self, folder: &Path, what: &str) -> Result<()> {
        let damaged = |cause: String| SandboxError::Damaged {
            what: what.to_owned(),
            cause,
        };
        if self.is_fresh(folder) {
            return Ok(());
        }
        let found = Self::of(folder).map_err(|error| damaged(error.to_string()))?;
        if (&found.digest, found.bytes) == (&self.digest, self.bytes) {
            Ok(())
        } else {
            Err(damaged("its checksum does not match".to_owned()))
        }
    }
}

/// The files of a state, in the order of their names.
fn files_of(folder: &Path) -> io::Result<Vec<PathBuf>> {
    if !is_folder(folder) {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)?
        .take(MAX_FILES)
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<_>>()?;
    paths.sort();
    Ok(paths)
}

/// Fills a folder that gets its name only when `write` has succeeded: half a state is never
/// seen. What stands at `folder` already is left from a failed attempt and is replaced. What
/// was [`retire`]d before is in the way of `write`, which writes over it.
pub(super) fn write_whole(folder: &Path, write: impl FnOnce(&Path) -> Result<()>) -> Result<Seal> {
    let failed =
        |error: io::Error| SandboxError::io(format!("writing {}", folder.display()), error);
    let unfinished = beside(folder);
    if !is_folder(&unfinished) {
        remove(&unfinished)
            .and_then(|()| file::make_folder(&unfinished))
            .map_err(failed)?;
    }
    let written = write(&unfinished).and_then(|()| {
        let seal = Seal::of(&unfinished)?;
        rename_over(&unfinished, folder).map_err(failed)?;
        Ok(seal)
    });
    if written.is_err() {
        // What stays behind is written over or removed with the session.
        let _ = remove(&unfinished);
    }
    written
}

/// Forgets a state. Its files are kept for the next [`write_whole`] beside it, to be written
/// over, which costs a third of making them anew; unless somebody shares them or they are large.
pub(super) fn retire(folder: &Path) -> io::Result<()> {
    if is_spare(folder)? && rename_over(folder, &beside(folder)).is_ok() {
        return Ok(());
    }
    remove(folder)
}

fn is_spare(folder: &Path) -> io::Result<bool> {
    if !is_folder(folder) {
        return Ok(false);
    }
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let metadata = entry?.metadata()?;
        bytes += metadata.len();
        if metadata.nlink() != 1 || bytes > MAX_SPARE_BYTES {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Where the state that is to be at `folder` is written.
fn beside(folder: &Path) -> PathBuf {
    folder.with_file_name(UNFINISHED)
}

fn rename_over(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to).or_else(|_| {
        remove(to)?;
        fs::rename(from, to)
    })
}

/// Makes `target` the same state as `source`, sharing its files.
pub(super) fn link(source: &Path, target: &Path) -> Result<()> {
    let copy = || -> io::Result<()> {
        let parent = target.parent().unwrap_or(Path::new("."));
        let unfinished = tempfile::Builder::new()
            .prefix(UNFINISHED)
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir_in(parent)?;
        for entry in fs::read_dir(source)?.take(MAX_FILES) {
            let from = entry?.path();
            let to = unfinished.path().join(from.file_name().unwrap_or_default());
            // File systems without hard links get a copy.
            fs::hard_link(&from, &to).or_else(|_| {
                io::copy(&mut file::open(&from)?, &mut file::overwrite(&to)?).map(|_| ())
            })?;
        }
        rename_over(unfinished.path(), target)?;
        // It has another name now.
        let _ = unfinished.keep();
        Ok(())
    };
    copy().map_err(|error| SandboxError::io(format!("copying {}", source.display()), error))
}

/// Removes a folder, or what stands in its place, if anything does.
pub(super) fn remove(folder: &Path) -> io::Result<()> {
    let removed = match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => fs::remove_file(folder),
        other => other,
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Whether this is a folder, and no link to one.
pub(super) fn is_folder(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir())
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
        assert!(seal.is_fresh(&folder));
        let stored = serde_json::to_vec(&seal).expect("JSON");
        let seal: Seal = serde_json::from_slice(&stored).expect("a seal");
        assert!(!seal.is_fresh(&folder), "another process must digest them");
        seal.check(&folder, "it").expect("whole");
        for damage in [&b"abd"[..], b"ab", b"", b"abcd"] {
            fs::write(folder.join("pages"), damage).expect("written");
            assert!(seal.check(&folder, "it").is_err(), "{damage:?}");
        }
        fs::remove_file(folder.join("pages")).expect("removed");
        assert!(seal.check(&folder, "it").is_err());
    }

    #[test]
    fn what_is_no_file_is_damage() {
        let root = tempfile::tempdir().expect("a folder");
        let (folder, seal) = stored(root.path());
        let pages = folder.join("pages");
        let elsewhere = root.path().join("elsewhere");
        fs::rename(&pages, &elsewhere).expect("moved");
        let refused = |kind: &str| {
            let checked = seal.check(&folder, "it");
            assert!(
                matches!(checked, Err(SandboxError::Damaged { .. })),
                "{kind}"
            );
            remove(&pages).expect("removed");
        };
        std::os::unix::fs::symlink(&elsewhere, &pages).expect("linked");
        refused("a link to the very file");
        pipe(&pages);
        refused("a pipe");
        let _socket = std::os::unix::net::UnixListener::bind(&pages).expect("a socket");
        refused("a socket");
        fs::create_dir(&pages).expect("made");
        refused("a folder");
        fs::rename(&elsewhere, &pages).expect("moved");
        seal.check(&folder, "it").expect("whole");
        fs::rename(&folder, &elsewhere).expect("moved");
        std::os::unix::fs::symlink(&elsewhere, &folder).expect("linked");
        assert!(
            seal.check(&folder, "it").is_err(),
            "a link to the very folder"
        );
    }

    #[test]
    fn nothing_is_written_through_a_link() {
        let root = tempfile::tempdir().expect("a folder");
        let elsewhere = root.path().join("elsewhere");
        fs::create_dir(&elsewhere).expect("made");
        let unfinished = root.path().join(UNFINISHED);
        std::os::unix::fs::symlink(&elsewhere, &unfinished).expect("linked");
        let (folder, seal) = stored(root.path());
        seal.check(&folder, "it").expect("whole");
        assert_eq!(fs::read_dir(&elsewhere).expect("a folder").count(), 0);
        pipe(&unfinished);
        let (folder, seal) = stored(root.path());
        seal.check(&folder, "it").expect("whole");
    }

    fn pipe(path: &Path) {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe");
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
