//! What can be wrong with a file.

use super::VERSION;
use std::io;
use std::path::PathBuf;

/// Why a file is no trajectory. The messages are one line each.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system refused.
    #[error("cannot read {path:?}: {cause}. hint: name the .jsonl file that a run has written")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// A folder, a pipe, a device.
    #[error("{path:?} is not a file. hint: name the .jsonl file that a run has written")]
    NotAFile {
        /// What was named.
        path: PathBuf,
    },
    /// Larger than anything that is shown.
    #[error("{path:?} is too large: {what}. hint: a run that is not verbose writes far less")]
    TooLarge {
        /// Which file.
        path: PathBuf,
        /// The limit that it exceeds.
        what: String,
    },
    /// No record at all.
    #[error("{path:?} has no record. hint: the run ended before it wrote any")]
    Empty {
        /// Which file.
        path: PathBuf,
    },
    /// Something else.
    #[error("{path:?} is no trajectory: {what}. hint: name the .jsonl file that a run has written")]
    NotATrajectory {
        /// Which file.
        path: PathBuf,
        /// What it is instead, as far as can be told.
        what: String,
    },
    /// A format of another release.
    #[error(
        "{path:?} has version {version} of the format, and this release reads version {VERSION}. hint: show it with the release that wrote it: {written_by}"
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
    #[error(
        "{path:?}, line {line}: the event `{event}` is not known here. hint: show it with the release that wrote it: {written_by}"
    )]
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
    #[error(
        "{path:?}, line {line} is no record: {reason}. hint: the file was changed or damaged; without this line it may be readable"
    )]
    BadLine {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong with it, made printable.
        reason: String,
    },
}
