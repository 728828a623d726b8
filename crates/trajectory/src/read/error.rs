//! What can be wrong with a file.

use super::VERSION;
use std::io;
use std::path::PathBuf;

/// Why a file is no trajectory. The messages are one line each.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system refused.
    #[error("cannot read {path:?}: {cause}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// A folder, a pipe, a device.
    #[error("{path:?} is not a file")]
    NotAFile {
        /// What was named.
        path: PathBuf,
    },
    /// Larger than anything that is shown.
    #[error("{path:?} is too large: {what}")]
    TooLarge {
        /// Which file.
        path: PathBuf,
        /// The limit that it exceeds.
        what: String,
    },
    /// No record at all.
    #[error("{path:?} has no record")]
    Empty {
        /// Which file.
        path: PathBuf,
    },
    /// Something else.
    #[error("{path:?} is no trajectory: {what}")]
    NotATrajectory {
        /// Which file.
        path: PathBuf,
        /// What it is instead, as far as can be told.
        what: String,
    },
    /// A format of another release.
    #[error(
        "{path:?} has version {version} of the format, and this release reads version {VERSION}"
    )]
    OtherVersion {
        /// Which file.
        path: PathBuf,
        /// The version it has.
        version: u32,
        /// The release that wrote it, made printable.
        written_by: String,
    },
    /// An event that this release does not know.
    #[error("{path:?}, line {line}: the event `{event}` is not known here")]
    UnknownEvent {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// The event, made printable.
        event: String,
        /// The release that wrote it, made printable.
        written_by: String,
    },
    /// A line that is no record.
    #[error("{path:?}, line {line} is no record: {reason}")]
    BadLine {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong with it, made printable.
        reason: String,
    },
}

impl ReadError {
    /// What the caller can do.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Io { .. } | Self::NotAFile { .. } | Self::NotATrajectory { .. } => {
                "name the .jsonl file that a run has written".to_owned()
            }
            Self::TooLarge { .. } => "a run that is not verbose writes far less".to_owned(),
            Self::Empty { .. } => "the run ended before it wrote any".to_owned(),
            Self::OtherVersion { written_by, .. } | Self::UnknownEvent { written_by, .. } => {
                format!("show it with the release that wrote it: {written_by}")
            }
            Self::BadLine { .. } => {
                "the file was changed or damaged; without this line it may be readable".to_owned()
            }
        }
    }
}
