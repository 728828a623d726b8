//! What can go wrong when building.

use crate::linux::name::ImageName;
use std::io;
use std::path::{Path, PathBuf};

/// Shorthand for results of this crate.
pub type Result<T, E = ImageError> = std::result::Result<T, E>;

/// A build or a store that failed. Nothing half done is left behind.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The disk is full.
    #[error("no space left on the disk of {path}", path = .path.display())]
    DiskFull {
        /// What was being written.
        path: PathBuf,
    },
    /// A file operation.
    #[error("{path}: {cause}", path = .path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// A program the build needs is not there.
    #[error("{program} is not installed")]
    ToolMissing {
        /// Which one.
        program: String,
    },
    /// A program of the build failed.
    #[error("{step} failed ({status}): {output}")]
    Tool {
        /// What was being done.
        step: String,
        /// How it ended.
        status: String,
        /// The end of what it printed.
        output: String,
    },
    /// The sources are not there.
    #[error("the project's sources cannot be read: {0}")]
    NoSources(#[from] io::Error),
    /// The sources are not those this program was built from.
    #[error("the sources at {path} have changed since this program was built", path = .path.display())]
    SourcesChanged {
        /// Where they are.
        path: PathBuf,
    },
    /// A name that cannot be one.
    #[error(
        "`{shown}` is no image name: use 1 to 64 letters, digits, `-`, `_` and `.`, beginning with a letter or digit"
    )]
    BadName {
        /// The beginning of it, made printable.
        shown: String,
    },
    /// There is no such image.
    #[error("there is no image {0}: it was removed, or never made")]
    NoImage(ImageName),
    /// The name is another image's.
    #[error("there is an image {0} already, made from something else")]
    ImageTaken(ImageName),
    /// Something that names no package.
    #[error("`{shown}` does not name {what}, or there are too many")]
    BadPackage {
        /// What it should name.
        what: &'static str,
        /// The beginning of it, made printable.
        shown: String,
    },
    /// A text that is no lock.
    #[error("line {line} of the lock: {what}")]
    BadLock {
        /// Which line.
        line: usize,
        /// What is wrong with it.
        what: String,
    },
    /// The image would not be what the lock says.
    #[error("what there is now differs from the lock: {}", .differences.join("; "))]
    Locked {
        /// Each package, what was locked and what was found.
        differences: Vec<String>,
    },
    /// A file that cannot be part of an image.
    #[error("{path}: {why}")]
    BadFile {
        /// Which, made printable.
        path: String,
        /// Why not.
        why: String,
    },
    /// A Dockerfile asks for what images here do not have.
    #[error("line {line} of the Dockerfile: {what}")]
    Dockerfile {
        /// Which line.
        line: usize,
        /// What is wrong with it.
        what: String,
    },
    /// The component cannot be compiled.
    #[error("compiling the component: {0}")]
    Compile(String),
}

impl ImageError {
    /// A failed operation on `path`; a full disk is told apart.
    pub fn file(path: &Path, cause: io::Error) -> Self {
        let path = path.to_path_buf();
        match cause.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => Self::DiskFull { path },
            _ => Self::File { path, cause },
        }
    }

    /// Whether what was asked for is wrong, not the host.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::BadName { .. }
                | Self::NoImage(_)
                | Self::ImageTaken(_)
                | Self::BadPackage { .. }
                | Self::BadLock { .. }
                | Self::BadFile { .. }
                | Self::Dockerfile { .. }
        )
    }

    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::DiskFull { .. } => {
                "free some space, or set UKERNEL_HOME to a folder on another disk".to_owned()
            }
            Self::File { .. } => {
                "check that the folder is yours and writable, or set UKERNEL_HOME".to_owned()
            }
            Self::ToolMissing { program } => match program.as_str() {
                "cargo" | "rustc" => "install Rust 1.95 or later".to_owned(),
                "python3" => {
                    "install Python 3 with pip, on Debian: apt install python3 python3-pip"
                        .to_owned()
                }
                "mmdebstrap" | "tar2sqfs" | "dpkg-deb" => {
                    "the Linux guest is built with Debian's tools: apt install mmdebstrap squashfs-tools-ng".to_owned()
                }
                other => format!("install {other}"),
            },
            Self::Tool { output, .. } if output.contains("No module named pip") => {
                "install pip, on Debian: apt install python3-pip".to_owned()
            }
            Self::Tool { output, .. } if output.contains("Unable to locate package") => {
                "names of packages are those of Debian 12".to_owned()
            }
            Self::Tool { output, .. } if output.contains("No matching distribution") => {
                "Python packages come as wheels for Python 3.11; what one needs and lacks can be named with --pip".to_owned()
            }
            Self::BadName { .. } => "choose another name".to_owned(),
            Self::NoImage(_) => {
                "`ukernel image list` shows them; `ukernel image add` makes one".to_owned()
            }
            Self::ImageTaken(_) => {
                "choose another name; `ukernel image remove` frees one of yours".to_owned()
            }
            Self::BadPackage { .. } => "write names, with or without a version: sl, cowsay==6.1".to_owned(),
            Self::BadLock { .. } => "`ukernel image lock` writes one".to_owned(),
            Self::Locked { .. } => {
                "build without --lock to have what there is now, and lock that".to_owned()
            }
            Self::BadFile { .. } | Self::Dockerfile { .. } => "docs/guests.md says what a Dockerfile may have here".to_owned(),
            Self::Tool { .. } => {
                "the first use needs the package registries; see the message".to_owned()
            }
            Self::NoSources(_) => "set UKERNEL_SOURCE to a clone of the project".to_owned(),
            Self::SourcesChanged { .. } => "build it again: cargo build --release".to_owned(),
            Self::Compile(_) => "this is a bug, please report it".to_owned(),
        }
    }
}
