//! Folders and large files of a session, in and out as a tar archive that is never whole in
//! memory.
//!
//! Paths in the archive are relative to what is moved. A single file is the archive's only entry,
//! called `.`.

use super::Session;
use super::files::{is_name, refused};
use super::journal::Entry;
use crate::vm::Vm;
use crate::{Result, SandboxError};
use serde::{Deserialize, Serialize};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Component, Path};
use tar::{Archive, Builder, EntryType, Header};
use ukernel_abi::message::{FileError, FileKind, FileOp, FileStatus, MAX_CHUNK_BYTES};
use ukernel_machine::MachineError;

/// Bytes of an archive written at once.
const PIECE_BYTES: usize = 64 << 10;

/// How many names of what was left out are kept.
const MAX_NAMES: usize = 5;

/// What was moved in or out of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// Files.
    pub files: u64,
    /// Folders.
    pub folders: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// How many entries were not moved as they are: links, sockets, pipes, devices.
    pub left_out: u64,
    /// The first of them, each with the reason.
    pub left_out_names: Vec<String>,
}

impl Moved {
    /// Counts an entry that was not moved as it is.
    pub fn leave_out(&mut self, name: &str, reason: &str) {
        self.left_out += 1;
        if self.left_out_names.len() < MAX_NAMES {
            let name = name.escape_debug();
            self.left_out_names.push(format!("{name}: {reason}"));
        }
    }
}

impl Session {
    /// Writes what a tar archive holds to `target`, as one command. Folders that are there stay,
    /// files are replaced. What was written before a failure stays; a rollback removes it.
    ///
    /// # Errors
    /// [`SandboxError::Archive`] if it cannot be read or breaks off, [`SandboxError::Machine`]
    /// with what the guest says.
    pub async fn put_tree(
        &self,
        archive: impl Read + Send + 'static,
        target: &str,
    ) -> Result<Moved> {
        let target = target.to_owned();
        self.work(move |state| {
            state.with_vm("put", &target, |vm| settle(unpack(vm, archive, &target)))?
        })
        .await
    }

    /// Writes a file or folder of the guest to a tar archive. The archive has an end only if this
    /// succeeds.
    ///
    /// # Errors
    /// [`SandboxError::Archive`] if it cannot be written, or a file shrank while it was read,
    /// [`SandboxError::Machine`] with what the guest says.
    pub async fn get_tree(
        &self,
        path: &str,
        archive: impl Write + Send + 'static,
    ) -> Result<Moved> {
        let path = path.to_owned();
        self.work(move |state| {
            // A full disk keeps nobody from what is inside; the journal tells of the gap.
            let _ = state.note(&Entry::get(&path));
            state.look(|vm| settle(pack(vm, &path, archive)))?
        })
        .await
    }
}

/// Separates what failed in the machine, which travels in an [`io::Error`], from what failed in
/// the archive: the second is no reason to give the VM up.
fn settle(moved: io::Result<Moved>) -> Result<Result<Moved>, MachineError> {
    match moved.map_err(io::Error::downcast::<MachineError>) {
        Ok(moved) => Ok(Ok(moved)),
        Err(Ok(error)) => Err(error),
        Err(Err(error)) => Ok(Err(SandboxError::Archive(error))),
    }
}

fn unpack(vm: &Vm, archive: impl Read, target: &str) -> io::Result<Moved> {
    if !target.starts_with('/') {
        return Err(io::Error::other(refused(target, FileError::BadPath)));
    }
    let mut moved = Moved::default();
    for entry in Archive::new(archive).entries()? {
        let mut entry = entry?;
        let name = entry.path_bytes().into_owned();
        let shown = String::from_utf8_lossy(&name).into_owned();
        let Some(path) = inside(target, &name) else {
            moved.leave_out(&shown, "not a usable path");
            continue;
        };
        match entry.header().entry_type() {
            EntryType::Directory => {
                let op = FileOp::MakeFolder { path: path.clone() };
                vm.change(&path, op).map_err(io::Error::other)?;
                moved.folders += 1;
            }
            EntryType::Regular => {
                let bytes = entry.size();
                write(vm, &path, &mut entry, bytes)?;
                moved.files += 1;
                moved.bytes += bytes;
            }
            // Comments of the program that made the archive.
            EntryType::XGlobalHeader => {}
            _ => moved.leave_out(&shown, "neither file nor folder"),
        }
    }
    Ok(moved)
}

/// Where an entry of this name belongs, unless that is not below `target`.
fn inside(target: &str, name: &[u8]) -> Option<String> {
    let mut path = target.trim_end_matches('/').to_owned();
    for component in Path::new(std::str::from_utf8(name).ok()?).components() {
        match component {
            Component::Normal(part) => {
                path.push('/');
                path.push_str(part.to_str()?);
            }
            Component::CurDir => {}
            _ => return None,
        }
    }
    if path.is_empty() {
        path.push('/');
    }
    Some(path)
}

/// Writes a file of `bytes` bytes.
fn write(vm: &Vm, path: &str, content: &mut impl Read, bytes: u64) -> io::Result<()> {
    let mut piece = Vec::with_capacity(MAX_CHUNK_BYTES.min(usize::try_from(bytes).unwrap_or(0)));
    let mut offset = 0;
    loop {
        piece.clear();
        content
            .take(MAX_CHUNK_BYTES as u64)
            .read_to_end(&mut piece)?;
        if piece.is_empty() && offset < bytes {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        vm.write_at(path, offset, offset == 0, &piece)
            .map_err(io::Error::other)?;
        offset += piece.len() as u64;
        if offset >= bytes {
            return Ok(());
        }
    }
}

fn pack(vm: &Vm, path: &str, out: impl Write) -> io::Result<Moved> {
    let mut archive = Builder::new(BufWriter::with_capacity(PIECE_BYTES, out));
    let mut moved = Moved::default();
    let status = vm.stat(path).map_err(io::Error::other)?;
    let mut folders = Vec::new();
    match status.kind {
        FileKind::File => add_file(vm, &mut archive, path, ".", status, &mut moved)?,
        FileKind::Folder => folders.push((path.trim_end_matches('/').to_owned(), ".".to_owned())),
        FileKind::Link => moved.leave_out(path, "a link"),
    }
    while let Some((path, name)) = folders.pop() {
        let mut header = header(EntryType::Directory, 0, 0o755);
        archive.append_data(&mut header, &name, io::empty())?;
        moved.folders += 1;
        let listed = if path.is_empty() { "/" } else { &path };
        for entry in vm.list(listed).map_err(io::Error::other)? {
            let name = format!("{name}/{}", entry.name);
            if !is_name(&entry.name) {
                moved.leave_out(&name, "not a usable name");
                continue;
            }
            let path = format!("{path}/{}", entry.name);
            match entry.status.kind {
                FileKind::File => {
                    add_file(vm, &mut archive, &path, &name, entry.status, &mut moved)?;
                }
                FileKind::Folder => folders.push((path, name)),
                FileKind::Link => moved.leave_out(&name, "a link"),
            }
        }
    }
    archive.into_inner()?.flush()?;
    Ok(moved)
}

fn add_file(
    vm: &Vm,
    archive: &mut Builder<impl Write>,
    path: &str,
    name: &str,
    status: FileStatus,
    moved: &mut Moved,
) -> io::Result<()> {
    let content = Content {
        vm,
        path,
        offset: 0,
        end: status.bytes,
    };
    let content = BufReader::with_capacity(MAX_CHUNK_BYTES, content);
    let mut header = header(EntryType::Regular, status.bytes, 0o644);
    header.set_mtime(status.modified_ns / 1_000_000_000);
    archive.append_data(&mut header, name, content)?;
    moved.files += 1;
    moved.bytes += status.bytes;
    Ok(())
}

fn header(kind: EntryType, bytes: u64, mode: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(bytes);
    header.set_mode(mode);
    header
}

/// A file of the guest, as long as it was when it was looked at.
struct Content<'a> {
    vm: &'a Vm,
    path: &'a str,
    offset: u64,
    end: u64,
}

impl Read for Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.offset).unwrap_or(usize::MAX);
        let wanted = left.min(buffer.len());
        if wanted == 0 {
            return Ok(0);
        }
        let bytes = self
            .vm
            .read_at(self.path, self.offset, wanted)
            .map_err(io::Error::other)?;
        if bytes.is_empty() {
            let what = format!("{} shrank while it was read", self.path);
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, what));
        }
        buffer[..bytes.len()].copy_from_slice(&bytes);
        self.offset += bytes.len() as u64;
        Ok(bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_stay_below_the_target() {
        for (target, name, path) in [
            ("/data", "a/b", Some("/data/a/b")),
            ("/data/", "./a//b/", Some("/data/a/b")),
            ("/data", ".", Some("/data")),
            ("/", ".", Some("/")),
            ("/", "a", Some("/a")),
            ("/data", "../a", None),
            ("/data", "a/../../b", None),
            ("/data", "/etc", None),
        ] {
            let found = inside(target, name.as_bytes());
            assert_eq!(found.as_deref(), path, "{target} {name}");
        }
        assert_eq!(inside("/data", b"\xff"), None);
    }

    #[test]
    fn only_the_first_names_are_kept_and_made_printable() {
        let mut moved = Moved::default();
        for _ in 0..1000 {
            moved.leave_out("a\u{1b}[2J\n", "a link");
        }
        assert_eq!(moved.left_out, 1000);
        assert_eq!(moved.left_out_names.len(), MAX_NAMES);
        assert_eq!(moved.left_out_names[0], "a\\u{1b}[2J\\n: a link");
    }
}
