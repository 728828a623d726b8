//! What the host can do with files of a guest.

use alloc::{string::String, vec::Vec};
use serde::{Deserialize, Serialize};

/// Longest path in a guest, in bytes.
pub const MAX_PATH_BYTES: usize = 4096;

/// Most entries of a folder in one reply.
pub const MAX_ENTRIES: usize = 512;

/// Something to be done. Paths are absolute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileOp {
    /// Reads part of a file: [`FileReply::Content`].
    Read {
        /// The file.
        path: String,
        /// Where to start.
        offset: u64,
        /// Most bytes wanted, at most [`MAX_CHUNK_BYTES`](crate::message::MAX_CHUNK_BYTES).
        max_bytes: u32,
    },
    /// Writes part of a file, making it and the folders above it: [`FileReply::Written`].
    Write {
        /// The file.
        path: String,
        /// Where the bytes go.
        offset: u64,
        /// Whether the file is emptied first.
        truncate: bool,
        /// At most [`MAX_CHUNK_BYTES`](crate::message::MAX_CHUNK_BYTES).
        bytes: Vec<u8>,
    },
    /// Asks what is there; a symbolic link is not followed: [`FileReply::Status`].
    Stat {
        /// The file, folder or link.
        path: String,
    },
    /// Lists a folder, in the order of the names: [`FileReply::Entries`].
    List {
        /// The folder.
        path: String,
        /// Only names after this one.
        after: Option<String>,
    },
    /// Makes a folder and those above it; one that is there is no error: [`FileReply::Done`].
    MakeFolder {
        /// The folder.
        path: String,
    },
    /// Gives a file or folder another name; a file there is replaced: [`FileReply::Done`].
    Rename {
        /// What it is called.
        from: String,
        /// What it shall be called.
        to: String,
    },
    /// Removes a file, a link or an empty folder: [`FileReply::Done`].
    Remove {
        /// What to remove.
        path: String,
    },
}

/// What came of a [`FileOp`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileReply {
    /// The bytes; fewer than asked for at the end of the file, none past it.
    Content(Vec<u8>),
    /// Length of the file after the write, in bytes.
    Written(u64),
    /// What is there.
    Status(FileStatus),
    /// At most [`MAX_ENTRIES`]; more follow after the last one's name if `has_more`.
    Entries {
        /// Names, and what they are.
        entries: Vec<FileEntry>,
        /// Whether that is not all.
        has_more: bool,
    },
    /// It was done.
    Done,
}

/// What is known about a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStatus {
    /// What it is.
    pub kind: FileKind,
    /// Length of a file, in bytes.
    pub bytes: u64,
    /// Last change of its content, nanoseconds since 1970-01-01 UTC.
    pub modified_ns: u64,
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileKind {
    /// A file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
}

/// One entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its name in the folder.
    pub name: String,
    /// What is known about it.
    pub status: FileStatus,
}

/// Why something could not be done with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum FileError {
    /// No file there.
    #[error("no such file or folder")]
    NotFound,
    /// A folder where a file was wanted.
    #[error("is a folder")]
    IsDirectory,
    /// A file where a folder was wanted.
    #[error("not a folder")]
    NotDirectory,
    /// Relative, empty, too long or with `..` above the root.
    #[error("not a usable path")]
    BadPath,
    /// The file tree's quota is used up.
    #[error("file-tree quota used up")]
    QuotaExceeded,
    /// Read-only place.
    #[error("read-only")]
    ReadOnly,
    /// Something is there already.
    #[error("is there already")]
    Exists,
    /// A folder that holds something.
    #[error("the folder is not empty")]
    NotEmpty,
    /// This guest cannot do that.
    #[error("not supported by this guest")]
    Unsupported,
}
