//! What the host does with files of the tree.

use crate::files::{FileError as TreeError, Kind, NodeId, Status, Tree};
use alloc::vec::Vec;
use ukernel_abi::message::{
    FileEntry, FileError, FileKind, FileOp, FileReply, FileStatus, MAX_CHUNK_BYTES, MAX_ENTRIES,
};

/// Does it.
pub(super) fn follow(tree: &mut Tree, op: FileOp) -> Result<FileReply, FileError> {
    attempt(tree, op).map_err(file_error)
}

fn attempt(tree: &mut Tree, op: FileOp) -> Result<FileReply, TreeError> {
    Ok(match op {
        FileOp::Read {
            path,
            offset,
            max_bytes,
        } => {
            let node = tree.find(Tree::ROOT, absolute(&path)?, true)?;
            let most = (max_bytes as usize).min(MAX_CHUNK_BYTES);
            FileReply::Content(tree.read(node, offset, most)?)
        }
        FileOp::Write {
            path,
            offset,
            truncate,
            bytes,
        } => {
            tree.make_folders_above(absolute(&path)?)?;
            let node = tree.make_file(Tree::ROOT, &path, false)?;
            if truncate {
                tree.resize(node, 0)?;
            }
            tree.write(node, offset, &bytes)?;
            FileReply::Written(tree.status(node)?.bytes)
        }
        FileOp::Stat { path } => {
            let node = tree.find(Tree::ROOT, absolute(&path)?, false)?;
            FileReply::Status(status(tree.status(node)?))
        }
        FileOp::List { path, after } => {
            let folder = tree.find(Tree::ROOT, absolute(&path)?, true)?;
            list(tree, folder, after.as_deref())?
        }
        FileOp::MakeFolder { path } => {
            tree.make_folders_above(absolute(&path)?)?;
            match tree.make_folder(Tree::ROOT, &path) {
                Err(TreeError::Exists) if is_folder(tree, &path)? => {}
                made => drop(made?),
            }
            FileReply::Done
        }
        FileOp::Rename { from, to } => {
            let (from, to) = (absolute(&from)?, absolute(&to)?);
            tree.rename(Tree::ROOT, from, Tree::ROOT, to)?;
            FileReply::Done
        }
        FileOp::Remove { path } => {
            match tree.unlink(Tree::ROOT, absolute(&path)?) {
                Err(TreeError::IsDirectory) => tree.remove_folder(Tree::ROOT, &path)?,
                removed => removed?,
            }
            FileReply::Done
        }
    })
}

fn list(tree: &Tree, folder: NodeId, after: Option<&str>) -> Result<FileReply, TreeError> {
    let names = tree.list(folder)?;
    let mut rest = names
        .into_iter()
        .filter(|(name, _)| after.is_none_or(|after| name.as_str() > after))
        .peekable();
    let mut entries = Vec::new();
    while entries.len() < MAX_ENTRIES
        && let Some((name, node)) = rest.next()
    {
        let status = status(tree.status(node)?);
        entries.push(FileEntry { name, status });
    }
    Ok(FileReply::Entries {
        entries,
        has_more: rest.peek().is_some(),
    })
}

fn is_folder(tree: &Tree, path: &str) -> Result<bool, TreeError> {
    let node = tree.find(Tree::ROOT, path, true)?;
    Ok(tree.status(node)?.kind == Kind::Directory)
}

fn absolute(path: &str) -> Result<&str, TreeError> {
    path.starts_with('/')
        .then_some(path)
        .ok_or(TreeError::Invalid)
}

fn status(status: Status) -> FileStatus {
    FileStatus {
        kind: match status.kind {
            Kind::File => FileKind::File,
            Kind::Directory => FileKind::Folder,
            Kind::Link => FileKind::Link,
        },
        bytes: status.bytes,
        modified_ns: status.modified_ns,
    }
}

fn file_error(error: TreeError) -> FileError {
    match error {
        TreeError::NotFound => FileError::NotFound,
        TreeError::Exists => FileError::Exists,
        TreeError::IsDirectory => FileError::IsDirectory,
        TreeError::NotDirectory => FileError::NotDirectory,
        TreeError::NotEmpty => FileError::NotEmpty,
        TreeError::Quota => FileError::QuotaExceeded,
        TreeError::TooManyLinks | TreeError::Invalid | TreeError::NameTooLong => FileError::BadPath,
    }
}
