//! What can go wrong with the daemon, on both sides.

use crate::protocol::FailureKind;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use ukernel_sandbox::SandboxError;

/// Shorthand for results of this crate.
pub type Result<T, E = DaemonError> = std::result::Result<T, E>;

/// A daemon that cannot be reached, started or asked.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// Paths of sockets are short: name a shorter folder.
    #[error("{path} is too long for a socket", path = .0.display())]
    PathTooLong(PathBuf),
    /// Its folder, its lock, its process or its socket cannot be made.
    #[error("the daemon cannot be started")]
    Start(#[source] io::Error),
    /// Another daemon has the place.
    #[error("another daemon serves this user")]
    Taken,
    /// The daemon ended before it served.
    #[error("the daemon ended ({status}): {log}")]
    Ended {
        /// How.
        status: ExitStatus,
        /// The end of its log.
        log: String,
    },
    /// The daemon runs and does not serve.
    #[error("the daemon does not answer: {log}")]
    NoAnswer {
        /// The end of its log.
        log: String,
    },
    /// What serves does not greet, as a daemon that is stopped, or one of an old release.
    #[error("the daemon does not greet")]
    Silent(#[source] io::Error),
    /// The daemon is of another release than we are.
    #[error("the daemon is of release {version}, this is {}", env!("CARGO_PKG_VERSION"))]
    OtherVersion {
        /// The daemon's.
        version: String,
    },
    /// The head of the request is longer than [`MAX_HEAD_BYTES`](crate::protocol::MAX_HEAD_BYTES).
    #[error("the request is too long")]
    RequestTooLong,
    /// The connection broke before the answer was whole.
    #[error("the daemon went away")]
    Gone(#[source] io::Error),
    /// The daemon was told to end and does not.
    #[error("the daemon does not end")]
    NotEnding(#[source] io::Error),
    /// The daemon has done what it was asked, and it failed, or has refused it.
    #[error("{message}")]
    Failed {
        /// Which failure it is.
        kind: FailureKind,
        /// What failed, for people.
        message: String,
    },
    /// Sessions cannot be kept here.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
}
