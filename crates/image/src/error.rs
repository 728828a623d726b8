//! What can go wrong when building.

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
                "mmdebstrap" | "sqfstar" | "dpkg-deb" => {
                    "the Linux guest is built with Debian's tools: apt install mmdebstrap squashfs-tools".to_owned()
                }
                other => format!("install {other}"),
            },
            Self::Tool { output, .. } if output.contains("No module named pip") => {
                "install pip, on Debian: apt install python3-pip".to_owned()
            }
            Self::Tool { .. } => {
                "the first use needs the package registries; see the message".to_owned()
            }
            Self::NoSources(_) => "set UKERNEL_SOURCE to a clone of the project".to_owned(),
            Self::SourcesChanged { .. } => "build it again: cargo build --release".to_owned(),
            Self::Compile(_) => "this is a bug, please report it".to_owned(),
        }
    }
}
