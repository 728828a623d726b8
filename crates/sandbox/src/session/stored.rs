//! Folders of saved states: written whole, shared, written over.
//!
//! Folders never change while they have their name, so forks share them by hard links; the files
//! of one that nobody needs or shares any more are written over. They are not forced to the disk:
//! they survive the end of any process, and after a loss of power the digest tells what was lost.

use crate::{Result, SandboxError};
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

/// Fills a folder that gets its name only when `write` has succeeded: half a state is never
/// seen. What stands at `folder` already is left from a failed attempt and is replaced. What
/// was [`retire`]d before is in the way of `write`, which writes over it.
pub(super) fn write_whole<T>(folder: &Path, write: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    let failed =
        |error: io::Error| SandboxError::io(format!("writing {}", folder.display()), error);
    let unfinished = beside(folder);
    if !file::is_folder(&unfinished) {
        remove(&unfinished)
            .and_then(|()| file::make_folder(&unfinished))
            .map_err(failed)?;
    }
    let written = write(&unfinished).and_then(|written| {
        rename_over(&unfinished, folder).map_err(failed)?;
        Ok(written)
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
    if !file::is_folder(folder) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::read_dir;

    fn write(folder: &Path) -> Result<()> {
        write_whole(folder, |folder| {
            fs::write(folder.join("pages"), b"abc").expect("written");
            Ok(())
        })
    }

    fn is_whole(folder: &Path) -> bool {
        fs::read(folder.join("pages")).is_ok_and(|pages| pages == b"abc")
    }

    #[test]
    fn nothing_is_written_through_a_link() {
        let root = tempfile::tempdir().expect("a folder");
        let (folder, elsewhere) = (root.path().join("state"), root.path().join("elsewhere"));
        fs::create_dir(&elsewhere).expect("made");
        let unfinished = root.path().join(UNFINISHED);
        std::os::unix::fs::symlink(&elsewhere, &unfinished).expect("linked");
        write(&folder).expect("written");
        assert!(is_whole(&folder));
        assert_eq!(read_dir(&elsewhere).expect("a folder").count(), 0);
        fs::write(&unfinished, "a file").expect("written");
        write(&folder).expect("written");
        assert!(is_whole(&folder));
    }

    #[test]
    fn a_failed_write_leaves_nothing() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = root.path().join("state");
        let failed = write_whole(&folder, |folder| -> Result<()> {
            fs::write(folder.join("pages"), b"abc").expect("written");
            Err(SandboxError::Stopping)
        });
        assert!(failed.is_err());
        assert_eq!(read_dir(root.path()).expect("a folder").count(), 0);
    }

    #[test]
    fn a_linked_state_outlives_its_source() {
        let root = tempfile::tempdir().expect("a folder");
        let (folder, target) = (root.path().join("state"), root.path().join("twin"));
        write(&folder).expect("written");
        link(&folder, &target).expect("linked");
        remove(&folder).expect("removed");
        assert!(is_whole(&target));
    }
}
