//! Saved states: what a machine has become since it was forked from its template, on disk.
//!
//! ```text
//!   FOLDER/state    registers and devices, as the backend writes them
//!          pages    how the memory differs from the template's
//! ```
//! A backend is handed the two files, open ([`Body`]); a [`SavedState`] is what has to be known
//! of them later: who can restore them, and their digest.

use crate::{BackendKind, MachineError, Result, file};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The files of a state, in the order they are digested.
const FILES: [&str; 2] = ["pages", "state"];

/// Largest file of registers and devices, in bytes.
const MAX_STATE_BYTES: u64 = 16 << 20;

/// The two files of a state, open at their start.
#[derive(Debug)]
pub struct Body {
    /// Registers and devices.
    pub state: File,
    /// How the memory differs from the template's.
    pub pages: File,
}

impl Body {
    /// The files of `folder`, to be written. Those that are there are written over, which costs
    /// less than making them anew.
    ///
    /// # Errors
    /// [`MachineError::Io`] with what open(2) says, or that something else stands there.
    pub fn create(folder: &Path) -> Result<Self> {
        Self::with(folder, file::overwrite)
    }

    /// The files of `folder`, to be read.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub fn open(folder: &Path) -> Result<Self> {
        Self::with(folder, file::open)
    }

    fn with(folder: &Path, open: impl Fn(&Path) -> io::Result<File>) -> Result<Self> {
        let [pages, state] = FILES.map(|name| {
            let path = folder.join(name);
            open(&path)
                .map_err(|error| MachineError::io(format!("opening {}", path.display()), error))
        });
        Ok(Self {
            state: state?,
            pages: pages?,
        })
    }

    /// Cuts both files where they stand: what is behind is of a state that was there before.
    pub(crate) fn cut(&mut self) -> io::Result<()> {
        file::cut(&mut self.pages)?;
        file::cut(&mut self.state)
    }

    /// Reads the registers and devices.
    pub(crate) fn read_state(&self) -> io::Result<Vec<u8>> {
        let mut state = Vec::new();
        (&self.state)
            .take(MAX_STATE_BYTES)
            .read_to_end(&mut state)?;
        Ok(state)
    }
}

/// What is known of a state whose files are in a folder.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SavedState {
    /// What wrote it, and alone can restore it.
    pub backend: BackendKind,
    /// Names the template it is a difference from.
    pub template: String,
    /// BLAKE3 over names, lengths and contents of the files.
    digest: String,
    /// Length of the files together.
    pub bytes: u64,
    /// The files when this process digested them: as long as these are theirs, the digest is.
    /// Links have them in common.
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

/// A state that cannot be restored.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// It is of another backend.
    #[error("it is a state of {}", .0.name())]
    Backend(BackendKind),
    /// It is a difference from another template.
    #[error("it differs from another template")]
    Template,
    /// Its files are not those that were digested.
    #[error("its checksum does not match")]
    Digest,
    /// Its files cannot be read.
    #[error("{0}")]
    Unreadable(#[source] io::Error),
}

impl SavedState {
    /// Digests the files of `folder`, which `backend` has written for a fork of `template`.
    ///
    /// # Errors
    /// Those of reading them.
    pub fn seal(folder: &Path, backend: BackendKind, template: &str) -> io::Result<Self> {
        let mut hasher = blake3::Hasher::new();
        let mut bytes = 0;
        let mut stamps = Vec::new();
        if !file::is_folder(folder) {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        for name in FILES {
            let file = file::open(&folder.join(name))?;
            let metadata = file.metadata()?;
            let length = metadata.len();
            stamps.push(Stamp::of(&metadata));
            hasher.update(&(name.len() as u64).to_le_bytes());
            hasher.update(name.as_bytes());
            hasher.update(&length.to_le_bytes());
            hasher.update_reader(file)?;
            bytes += length;
        }
        Ok(Self {
            backend,
            template: template.to_owned(),
            digest: hasher.finalize().to_hex().to_string(),
            bytes,
            stamps,
        })
    }

    /// Whether the files of `folder` are those this process has digested.
    #[must_use]
    pub fn is_fresh(&self, folder: &Path) -> bool {
        let stamp = |name| fs::symlink_metadata(folder.join(name)).map(|data| Stamp::of(&data));
        file::is_folder(folder)
            && self.stamps.len() == FILES.len()
            && FILES
                .iter()
                .zip(&self.stamps)
                .all(|(name, known)| stamp(name).is_ok_and(|stamp| stamp == *known))
    }

    /// Refuses what a fork of `template` on `backend` cannot be restored from, and files that are
    /// not those that were sealed.
    ///
    /// # Errors
    /// [`Unfit`].
    pub fn check(&self, folder: &Path, backend: BackendKind, template: &str) -> Result<(), Unfit> {
        if self.backend != backend {
            return Err(Unfit::Backend(self.backend));
        }
        if self.template != template {
            return Err(Unfit::Template);
        }
        if self.is_fresh(folder) {
            return Ok(());
        }
        let found = Self::seal(folder, backend, template).map_err(Unfit::Unreadable)?;
        if (&found.digest, found.bytes) == (&self.digest, self.bytes) {
            Ok(())
        } else {
            Err(Unfit::Digest)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const KVM: BackendKind = BackendKind::Kvm;

    fn saved(folder: &Path) -> SavedState {
        let mut body = Body::create(folder).expect("files");
        body.pages.write_all(b"abc").expect("written");
        body.state.write_all(b"defg").expect("written");
        body.cut().expect("cut");
        SavedState::seal(folder, KVM, "t").expect("sealed")
    }

    #[test]
    fn damage_is_noticed() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = root.path();
        let state = saved(folder);
        assert_eq!(state.bytes, 7);
        state.check(folder, KVM, "t").expect("whole");
        assert!(state.is_fresh(folder));
        let stored = serde_json::to_vec(&state).expect("JSON");
        let state: SavedState = serde_json::from_slice(&stored).expect("a state");
        assert!(!state.is_fresh(folder), "another process must digest them");
        state.check(folder, KVM, "t").expect("whole");
        for damage in [&b"abd"[..], b"ab", b"", b"abcd"] {
            fs::write(folder.join("pages"), damage).expect("written");
            let refused = state.check(folder, KVM, "t");
            assert!(matches!(refused, Err(Unfit::Digest)), "{damage:?}");
        }
        fs::remove_file(folder.join("pages")).expect("removed");
        let refused = state.check(folder, KVM, "t");
        assert!(matches!(refused, Err(Unfit::Unreadable(_))));
    }

    #[test]
    fn a_state_of_another_backend_or_template_is_refused() {
        let root = tempfile::tempdir().expect("a folder");
        let state = saved(root.path());
        let refused = state.check(root.path(), BackendKind::Firecracker, "t");
        assert!(matches!(refused, Err(Unfit::Backend(KVM))));
        let refused = state.check(root.path(), KVM, "u");
        assert!(matches!(refused, Err(Unfit::Template)));
    }

    #[test]
    fn what_is_no_file_is_damage() {
        let root = tempfile::tempdir().expect("a folder");
        let (folder, elsewhere) = (root.path().join("f"), root.path().join("elsewhere"));
        fs::create_dir(&folder).expect("made");
        let state = saved(&folder);
        let pages = folder.join("pages");
        fs::rename(&pages, &elsewhere).expect("moved");
        let refused = |what: &str| {
            let refused = state.check(&folder, KVM, "t");
            assert!(matches!(refused, Err(Unfit::Unreadable(_))), "{what}");
        };
        std::os::unix::fs::symlink(&elsewhere, &pages).expect("linked");
        refused("a link to the very file");
        fs::remove_file(&pages).expect("removed");
        fs::create_dir(&pages).expect("made");
        refused("a folder");
        fs::remove_dir(&pages).expect("removed");
        fs::rename(&elsewhere, &pages).expect("moved");
        state.check(&folder, KVM, "t").expect("whole");
        fs::rename(&folder, &elsewhere).expect("moved");
        std::os::unix::fs::symlink(&elsewhere, &folder).expect("linked");
        refused("a link to the very folder");
    }
}
