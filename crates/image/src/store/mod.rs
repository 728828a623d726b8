//! A store of built things, by the digest of what they were built from.
//!
//! ```text
//!   ROOT/KIND/KEY/            an entry: its files and `manifest`, which has their digests
//!   ROOT/KIND/KEY.stamp       what the files looked like when their digests were last right
//!   ROOT/KIND/KEY.lock        held while the entry is built or judged
//!   ROOT/KIND/KEY.partial/    an entry being built; whoever holds the lock may remove it
//!
//!            no entry                 build fails, process dies, disk full
//!   ABSENT ───────────> PARTIAL ─────────────────────────────────────────> ABSENT
//!                          │ rename, after everything is on disk
//!                          v
//!                       PRESENT ── a digest is wrong ──> removed, ABSENT
//! ```
//! Digests are computed when an entry is made and again whenever a file's inode, size or
//! times differ from its stamp. So damage that goes through the file system is found at
//! the next use, and an untouched entry costs a few `stat` calls.

mod digest;
mod manifest;

use crate::{ImageError, Progress, Result};
use manifest::Manifest;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// The store.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

/// Names an entry: the digest of everything it is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key([u8; 32]);

impl Key {
    /// The key of these inputs, in this order. Lengths are part of it, so that no two
    /// lists of inputs run together.
    #[must_use]
    pub fn of<'a>(inputs: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hasher = blake3::Hasher::new();
        for input in inputs {
            hasher.update(&(input.len() as u64).to_le_bytes());
            hasher.update(input);
        }
        Self(*hasher.finalize().as_bytes())
    }

    /// The digest.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn name(self) -> String {
        blake3::Hash::from_bytes(self.0).to_hex()[..32].to_owned()
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.name())
    }
}

impl Store {
    /// The store in this folder, which need not exist yet.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// The folder of all entries.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Whether there is such an entry. Whether it is right shows when it is asked for.
    pub(crate) fn has(&self, kind: &str, key: Key) -> bool {
        Place::new(&self.root.join(kind), key).entry.is_dir()
    }

    /// Removes an entry, if there is one.
    ///
    /// # Errors
    /// [`ImageError::File`].
    pub fn remove(&self, kind: &str, key: Key) -> Result<()> {
        let place = Place::new(&self.root.join(kind), key);
        if !place.entry.is_dir() {
            return Ok(());
        }
        let _lock = place.lock()?;
        place.remove()
    }

    /// Removes what builds have left that were killed: halves whose lock nobody has.
    fn sweep(shelf: &Path) -> Result<()> {
        let entries = fs::read_dir(shelf).map_err(|error| ImageError::file(shelf, error))?;
        for partial in entries.flatten().map(|entry| entry.path()) {
            if partial.extension().is_some_and(|end| end == "partial")
                && let Ok(lock) = File::open(partial.with_extension("lock"))
                && lock.try_lock().is_ok()
            {
                fs::remove_dir_all(&partial).map_err(|error| ImageError::file(&partial, error))?;
            }
        }
        Ok(())
    }

    /// The folder of an entry, built by `build` into an empty folder if it is absent or
    /// damaged. Processes that ask at once build once. `kind` is a plain folder name.
    ///
    /// # Errors
    /// Those of `build`, and of the file system.
    pub fn get_or_build<E: From<ImageError>>(
        &self,
        kind: &str,
        key: Key,
        progress: &dyn Progress,
        build: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<PathBuf, E> {
        let shelf = self.root.join(kind);
        let place = Place::new(&shelf, key);
        if place.is_good_untouched() {
            return Ok(place.entry);
        }
        fs::create_dir_all(&shelf).map_err(|error| ImageError::file(&shelf, error))?;
        let _lock = place.lock()?;
        if place.entry.is_dir() {
            // Somebody else may have built it meanwhile, or only its times have changed.
            if place.is_good_untouched() || place.check()? {
                return Ok(place.entry);
            }
            progress.step(&format!(
                "{kind} {} is damaged: building it again",
                key.name()
            ));
            place.remove()?;
        }
        Self::sweep(&shelf)?;
        let built = place.build(build);
        if built.is_err() {
            // The error that matters is the build's.
            let _ = fs::remove_dir_all(&place.partial);
        }
        built?;
        Ok(place.entry)
    }
}

/// Where one entry lives.
struct Place {
    entry: PathBuf,
    partial: PathBuf,
    stamp: PathBuf,
    lock: PathBuf,
}

impl Place {
    fn new(shelf: &Path, key: Key) -> Self {
        let name = key.name();
        Self {
            entry: shelf.join(&name),
            partial: shelf.join(format!("{name}.partial")),
            stamp: shelf.join(format!("{name}.stamp")),
            lock: shelf.join(format!("{name}.lock")),
        }
    }

    /// Waits for the lock. It goes with the file returned, also when the process dies.
    fn lock(&self) -> Result<File> {
        let failed = |error| ImageError::file(&self.lock, error);
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&self.lock)
            .map_err(failed)?;
        file.lock().map_err(failed)?;
        Ok(file)
    }

    /// Whether the entry is there and looks as it did when it was last judged right.
    fn is_good_untouched(&self) -> bool {
        let Ok(stamp) = fs::read_to_string(&self.stamp) else {
            return false;
        };
        Manifest::read(&self.entry)
            .is_ok_and(|manifest| manifest.stamp(&self.entry).is_ok_and(|now| now == stamp))
    }

    /// Computes the digests. A right entry is stamped.
    fn check(&self) -> Result<bool> {
        let Ok(manifest) = Manifest::read(&self.entry) else {
            return Ok(false);
        };
        // Taken before the digests: a change in between shows at the next use.
        let Ok(stamp) = manifest.stamp(&self.entry) else {
            return Ok(false);
        };
        if !manifest.matches(&self.entry)? {
            return Ok(false);
        }
        self.write_stamp(&stamp)?;
        Ok(true)
    }

    fn write_stamp(&self, stamp: &str) -> Result<()> {
        let fresh = self.stamp.with_extension("stamp.new");
        fs::write(&fresh, stamp).map_err(|error| ImageError::file(&fresh, error))?;
        fs::rename(&fresh, &self.stamp).map_err(|error| ImageError::file(&self.stamp, error))
    }

    fn remove(&self) -> Result<()> {
        remove_file(&self.stamp)?;
        fs::remove_dir_all(&self.entry).map_err(|error| ImageError::file(&self.entry, error))
    }

    fn build<E: From<ImageError>>(
        &self,
        build: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.partial.exists() {
            // Left by a process that died: the lock says nobody is at it.
            fs::remove_dir_all(&self.partial)
                .map_err(|error| ImageError::file(&self.partial, error))?;
        }
        remove_file(&self.stamp)?;
        fs::create_dir(&self.partial).map_err(|error| ImageError::file(&self.partial, error))?;
        build(&self.partial)?;
        let manifest = Manifest::of(&self.partial)?;
        manifest.write(&self.partial)?;
        fs::rename(&self.partial, &self.entry)
            .map_err(|error| ImageError::file(&self.entry, error))?;
        self.write_stamp(&manifest.stamp(&self.entry)?)?;
        Ok(())
    }
}

fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(ImageError::file(path, error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
