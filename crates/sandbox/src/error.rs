//! What can go wrong in a sandbox, and where a session stands then.

use crate::environment::Output;
use std::fmt;
use std::io;
use std::time::Duration;
use ukernel_image::ImageError;
use ukernel_machine::MachineError;

/// Shorthand for results of this crate.
pub type Result<T, E = SandboxError> = std::result::Result<T, E>;

/// Where a session stands after its VM was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Commands whose effects are there.
    pub after: u64,
    /// Commands that were run, the failed one included.
    pub run: u64,
}

impl fmt::Display for Standing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.after + 1 == self.run {
            write!(out, "the session stands as it was before this command")
        } else {
            write!(
                out,
                "the session stands as it was after command {} of {}",
                self.after, self.run
            )
        }
    }
}

/// A failure of a sandbox. Failures of the code that runs there are results, not errors.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// A name that cannot be one.
    #[error(
        "`{shown}` is no {what}: use 1 to 64 letters, digits, `-`, `_` and `.`, beginning with a letter or digit"
    )]
    BadName {
        /// Kind of name.
        what: &'static str,
        /// The beginning of it, made printable.
        shown: String,
    },
    /// The configuration contradicts itself.
    #[error("the configuration makes no sense: {0}")]
    Config(String),
    /// No backend of the preference is there.
    #[error("no backend is available: {reasons}")]
    NoBackend {
        /// Why not, each.
        reasons: String,
    },
    /// There is no such session, or it is another user's.
    #[error("there is no session {0}")]
    NoSession(String),
    /// The session has been destroyed or has expired.
    #[error("session {0} has ended")]
    SessionEnded(String),
    /// A command runs in the session.
    #[error("session {0} is running a command: wait for it, or interrupt it")]
    Busy(String),
    /// The name is taken.
    #[error("there is a {what} {name} already")]
    NameTaken {
        /// Kind of name.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// There is no such snapshot in the session.
    #[error("there is no snapshot {0} in this session")]
    NoSnapshot(String),
    /// A bound of the configuration is reached.
    #[error("{what}: at most {limit}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// How much there may be.
        limit: u64,
    },
    /// An execution took too long. Its VM is gone, what it wrote is here.
    #[error("time limit of {limit:?} reached; {standing}")]
    TimeLimit {
        /// The limit.
        limit: Duration,
        /// What it wrote until then.
        output: Box<Output>,
        /// Where the session stands.
        standing: Standing,
    },
    /// An execution was cancelled. Its VM is gone, what it wrote is here.
    #[error("cancelled; {standing}")]
    Cancelled {
        /// What it wrote until then.
        output: Box<Output>,
        /// Where the session stands.
        standing: Standing,
    },
    /// An execution was interrupted while it waited for its turn.
    #[error("interrupted before it began")]
    NeverBegan,
    /// The VM, or the runtime in it, was lost during an execution.
    #[error("the VM was lost: {reason}; {standing}")]
    VmLost {
        /// Why.
        reason: String,
        /// What the execution wrote until then.
        output: Box<Output>,
        /// Where the session stands.
        standing: Standing,
    },
    /// No VM was free in time.
    #[error("no VM within {waited:?}: {waiting} sessions wait")]
    AllocationTimeout {
        /// How long it was waited.
        waited: Duration,
        /// Sessions waiting at that moment.
        waiting: u32,
    },
    /// The sandbox is being stopped.
    #[error("the sandbox is stopping")]
    Stopping,
    /// A stored snapshot or checkpoint is not what was stored.
    #[error("{what} is damaged: {cause}")]
    Damaged {
        /// Which.
        what: String,
        /// What was found.
        cause: String,
    },
    /// A file operation of the host.
    #[error("{what}: {cause}")]
    Io {
        /// What was attempted.
        what: String,
        /// What the system said.
        cause: io::Error,
    },
    /// A tar archive on its way in or out of a session.
    #[error("the archive: {0}")]
    Archive(#[source] io::Error),
    /// The machine that was to become the template failed.
    #[error("the first VM failed: {reason}")]
    Template {
        /// Why.
        reason: String,
    },
    /// An image was named for a guest that has none of users' own.
    #[error("images are of the Linux guest: create the session with --guest linux")]
    ImageOfLinux,
    /// Kernel or image cannot be made.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A machine.
    #[error(transparent)]
    Machine(#[from] MachineError),
}

impl SandboxError {
    /// A failed file operation of the host.
    pub fn io(what: impl Into<String>, cause: impl Into<io::Error>) -> Self {
        Self::Io {
            what: what.into(),
            cause: cause.into(),
        }
    }
}
