//! Files of a session, one at a time. Paths are absolute paths in the guest.

use super::Session;
use super::journal::Entry;
use crate::vm::Vm;
use crate::{Result, SandboxError};
use ukernel_abi::message::{FileEntry, FileError, FileKind, FileOp, FileStatus};
use ukernel_machine::MachineError;

/// Largest file held in memory as a whole, in bytes. Larger ones go as an archive.
pub const MAX_FILE_BYTES: usize = 256 << 20;

/// Most entries of a folder listed for a caller.
const MAX_LISTED: usize = 100_000;

impl Session {
    /// Writes a whole file of the guest, making the folders above it.
    ///
    /// # Errors
    /// [`SandboxError::Limit`], [`SandboxError::Machine`] with what the guest says.
    pub async fn put_file(&self, path: &str, content: Vec<u8>) -> Result<()> {
        if content.len() > MAX_FILE_BYTES {
            return Err(too_large());
        }
        self.change("put", path, move |vm, path| vm.write_file(path, &content))
            .await
    }

    /// Reads a whole file of the guest.
    ///
    /// # Errors
    /// [`SandboxError::Limit`], [`SandboxError::Machine`] with what the guest says.
    pub async fn get_file(&self, path: &str) -> Result<Vec<u8>> {
        let path = path.to_owned();
        let content = self
            .work(move |state| {
                // As in `get_tree`.
                let _ = state.note(&Entry::get(&path));
                state.look(|vm| vm.read_file(&path, MAX_FILE_BYTES + 1))
            })
            .await?;
        if content.len() > MAX_FILE_BYTES {
            return Err(too_large());
        }
        Ok(content)
    }

    /// At most `max_bytes` of a file of the guest, from `offset`: fewer at its end.
    ///
    /// # Errors
    /// [`SandboxError::Machine`] with what the guest says.
    pub async fn read_file(&self, path: &str, offset: u64, max_bytes: usize) -> Result<Vec<u8>> {
        let (path, max_bytes) = (path.to_owned(), max_bytes.min(MAX_FILE_BYTES));
        self.work(move |state| {
            // As in `get_tree`.
            let _ = state.note(&Entry::get(&path));
            state.look(|vm| {
                let mut content = Vec::new();
                while content.len() < max_bytes {
                    let from = offset.saturating_add(content.len() as u64);
                    let piece = vm.read_at(&path, from, max_bytes - content.len())?;
                    if piece.is_empty() {
                        break;
                    }
                    content.extend_from_slice(&piece);
                }
                Ok(content)
            })
        })
        .await
    }

    /// What is at `path`. A link is not followed.
    ///
    /// # Errors
    /// [`SandboxError::Machine`] with what the guest says.
    pub async fn stat(&self, path: &str) -> Result<FileStatus> {
        let path = path.to_owned();
        self.work(move |state| state.look(|vm| vm.stat(&path)))
            .await
    }

    /// The entries of a folder, in the order of their names. A file is its own one entry, by its path.
    ///
    /// # Errors
    /// [`SandboxError::Limit`] for a folder of more than 100,000 entries,
    /// [`SandboxError::Machine`] with what the guest says.
    pub async fn list_folder(&self, path: &str) -> Result<Vec<FileEntry>> {
        let path = path.to_owned();
        let entries = self
            .work(move |state| {
                state.look(|vm| {
                    let status = vm.stat(&path)?;
                    if status.kind == FileKind::File {
                        return Ok(vec![FileEntry { name: path, status }]);
                    }
                    vm.list(&path)
                })
            })
            .await?;
        if entries.len() > MAX_LISTED {
            return Err(SandboxError::Limit {
                what: "entries of a folder that is listed",
                limit: MAX_LISTED as u64,
            });
        }
        Ok(entries)
    }

    /// Makes a folder and those above it. One that is there is no error.
    ///
    /// # Errors
    /// [`SandboxError::Machine`] with what the guest says.
    pub async fn make_folder(&self, path: &str) -> Result<()> {
        self.change("mkdir", path, |vm, path| {
            let op = FileOp::MakeFolder {
                path: path.to_owned(),
            };
            vm.change(path, op)
        })
        .await
    }

    /// Gives a file or folder another name. A file or an empty folder there is replaced; a rename
    /// onto itself changes nothing.
    ///
    /// # Errors
    /// [`SandboxError::Machine`] with what the guest says.
    pub async fn rename(&self, from: &str, to: &str) -> Result<()> {
        let to = to.to_owned();
        self.change("mv", from, move |vm, from| {
            let op = FileOp::Rename {
                from: from.to_owned(),
                to,
            };
            vm.change(from, op)
        })
        .await
    }

    /// Removes a file, a link or a folder: an empty one, or with `recursive` all that is in it.
    /// If that fails in the middle, what was removed until then is gone.
    ///
    /// # Errors
    /// [`SandboxError::Machine`] with what the guest says; it refuses the root and paths with `..`.
    pub async fn remove(&self, path: &str, recursive: bool) -> Result<()> {
        // `/a/..` would be the root under another name.
        if path.split('/').all(|part| part.is_empty() || part == ".")
            || path.split('/').any(|part| part == "..")
        {
            return Err(refused(path, FileError::BadPath).into());
        }
        self.change("rm", path, move |vm, path| remove(vm, path, recursive))
            .await
    }

    /// Changes files as a command of its own.
    async fn change(
        &self,
        kind: &'static str,
        path: &str,
        change: impl FnOnce(&Vm, &str) -> Result<(), MachineError> + Send + 'static,
    ) -> Result<()> {
        let path = path.to_owned();
        self.work(move |state| state.with_vm(kind, &path, |vm| change(vm, &path)))
            .await
    }
}

fn remove(vm: &Vm, path: &str, recursive: bool) -> Result<(), MachineError> {
    let remove = |path: &str| {
        let op = FileOp::Remove {
            path: path.to_owned(),
        };
        vm.change(path, op)
    };
    if !recursive || vm.stat(path)?.kind != FileKind::Folder {
        return remove(path);
    }
    let mut folders = vec![path.to_owned()];
    // Each folder comes after the one that holds it: emptied forwards, removed backwards.
    let mut next = 0;
    while let Some(folder) = folders.get(next).cloned() {
        next += 1;
        for entry in vm.list(&folder)? {
            if !is_name(&entry.name) {
                return Err(refused(&folder, FileError::BadPath));
            }
            let path = format!("{folder}/{}", entry.name);
            if entry.status.kind == FileKind::Folder {
                folders.push(path);
            } else {
                remove(&path)?;
            }
        }
    }
    folders.iter().rev().try_for_each(|folder| remove(folder))
}

/// Whether what a guest calls an entry of a folder can be one.
pub(super) fn is_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '\0'])
}

/// A refusal that the guest need not be asked for.
pub(super) fn refused(path: &str, cause: FileError) -> MachineError {
    MachineError::GuestFile {
        path: path.to_owned(),
        cause,
    }
}

fn too_large() -> SandboxError {
    SandboxError::Limit {
        what: "bytes of a file",
        limit: MAX_FILE_BYTES as u64,
    }
}
