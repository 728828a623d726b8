//! The folder of this process's sessions: its own, and gone when it is.

use crate::error::Problem;
use crate::{Result, RlmError};
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// A folder that no other process uses, removed when this is dropped. What a killed process left
/// is removed by the next one.
pub(crate) struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Makes one below `root`.
    pub(crate) fn make(root: &Path) -> Result<Self> {
        let made = || -> std::io::Result<Self> {
            fs::create_dir_all(root)?;
            sweep(root)?;
            let path = root.join(uuid::Uuid::new_v4().to_string());
            let lock = File::create(lock_of(&path))?;
            flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
            fs::create_dir(&path)?;
            Ok(Self { path, _lock: lock })
        };
        made().map_err(|error| {
            RlmError::internal(Problem::about(format!("in {}", root.display()), error))
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What stays is swept by the next process.
        let _ = fs::remove_dir_all(&self.path);
        let _ = fs::remove_file(lock_of(&self.path));
    }
}

fn lock_of(folder: &Path) -> PathBuf {
    folder.with_extension("lock")
}

/// Removes the folders whose processes are gone.
fn sweep(root: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(root)? {
        let path = entry?.path();
        if path.extension().is_none_or(|end| end != "lock") {
            continue;
        }
        // Another process may have removed it a moment ago.
        let Ok(lock) = File::open(&path) else {
            continue;
        };
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = fs::remove_dir_all(path.with_extension(""));
            let _ = fs::remove_file(&path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_left_is_removed_and_nothing_else() {
        let root = tempfile::tempdir().expect("a folder");
        let alive = Folder::make(root.path()).expect("a folder");
        let dead = root.path().join("dead");
        fs::create_dir(&dead).expect("made");
        fs::write(lock_of(&dead), "").expect("written");
        let other = Folder::make(root.path()).expect("a folder");
        assert!(alive.path().exists() && other.path().exists() && !dead.exists());
        drop((alive, other));
        assert_eq!(fs::read_dir(root.path()).expect("read").count(), 0);
    }
}
