//! The file tree: in memory, private to this VM, bounded by a quota that doubles up to what
//! the host allows, and by the memory there is: what it keeps is allocated so that failing
//! is an error of the program's, never the kernel's end.
//!
//! Nodes are named by number; folders hold names. A file that is open lives on when its last
//! name goes. Paths are resolved here and nowhere else, from a folder, with `..` stopping at
//! the root and at most [`MAX_LINKS`] symbolic links followed.

mod content;
#[cfg(test)]
mod model;
mod path;
mod quota;
mod tree;

pub use content::BLOCK_BYTES;
pub use tree::{Kind, NodeId, Status, Tree};

/// Symbolic links followed in one path.
const MAX_LINKS: u32 = 16;

/// Longest name of one file or folder, in bytes.
const MAX_NAME_BYTES: usize = 255;

/// Why the tree said no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileError {
    /// Nothing has this name.
    NotFound,
    /// Something has this name already.
    Exists,
    /// A folder where a file was wanted.
    IsDirectory,
    /// A file where a folder was wanted.
    NotDirectory,
    /// A folder that holds something.
    NotEmpty,
    /// More symbolic links in one path than are followed.
    TooManyLinks,
    /// A path, an offset or an operation that makes no sense.
    Invalid,
    /// A name longer than names may be.
    NameTooLong,
    /// The quota, or the VM's memory, is used up.
    Quota,
}
