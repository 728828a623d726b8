//! The file tree: in memory, private to this VM, bounded by a quota that doubles up to what
//! the host allows, and by the memory there is: what it keeps is allocated so that failing
//! is an error of the program's, never the kernel's end.
//!
//! Nodes are named by number; folders hold names. A file that is open lives on when its last
//! name goes. Paths are resolved here and nowhere else, from a folder, with `..` stopping at
//! the root and at most [`MAX_LINKS`] symbolic links followed.

mod content;
mod path;
mod quota;
mod tree;

pub(crate) use content::BLOCK_BYTES;
pub(crate) use tree::{Kind, NodeId, Status, Tree};

use crate::local::Local;

/// The tree of this VM.
pub(crate) static TREE: Local<Tree> = Local::new(Tree::empty());

/// Symbolic links followed in one path.
const MAX_LINKS: u32 = 16;

/// Longest name of one file or folder, in bytes.
const MAX_NAME_BYTES: usize = 255;

/// Why the tree said no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileError {
    NotFound,
    Exists,
    IsDirectory,
    NotDirectory,
    NotEmpty,
    TooManyLinks,
    Invalid,
    NameTooLong,
    Quota,
}
