//! What can go wrong with a machine.

use std::io;
use std::time::Duration;
use ukernel_abi::frame::FrameError;

/// Shorthand for results of this crate.
pub type Result<T, E = MachineError> = std::result::Result<T, E>;

/// A machine that cannot be started, or one that failed.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// This host cannot run the backend.
    #[error("{backend} is not usable here: {cause}")]
    Unavailable {
        /// Which backend.
        backend: &'static str,
        /// Why, and what to do.
        cause: String,
    },
    /// This machine cannot do it.
    #[error("{0}")]
    Unsupported(&'static str),
    /// The embedded VMM.
    #[error(transparent)]
    Vmm(#[from] ukernel_vmm::VmmError),
    /// The Firecracker process or its API.
    #[error("firecracker: {cause}")]
    Firecracker {
        /// What it said or did.
        cause: String,
    },
    /// The QEMU process or its monitor.
    #[error("qemu: {cause}")]
    Qemu {
        /// What it said or did.
        cause: String,
    },
    /// A file or socket operation.
    #[error("{what}: {cause}")]
    Io {
        /// What was attempted.
        what: String,
        /// What the system said.
        cause: io::Error,
    },
    /// The guest sent bytes that are no frames: it is hostile or damaged, end the machine.
    #[error("the guest broke the channel protocol: {0}")]
    Frame(#[from] FrameError),
    /// The guest speaks another version of the protocol.
    #[error("the guest speaks protocol {theirs}, this host {ours}: rebuild the image")]
    Version {
        /// The guest's version.
        theirs: u16,
        /// This host's version.
        ours: u16,
    },
    /// The guest said something that makes no sense at this point.
    #[error("the guest answered out of turn: {0}")]
    Unexpected(String),
    /// The guest refused a request.
    #[error("the guest refused: {0}")]
    Refused(String),
    /// A file in the guest could not be read or written.
    #[error("{path} in the guest: {cause}")]
    GuestFile {
        /// Its path.
        path: String,
        /// What the guest said.
        cause: ukernel_abi::message::FileError,
    },
    /// The channel is closed: the machine has ended or was told to.
    #[error("the machine has ended")]
    Closed,
    /// Nothing came in time. The machine is in an unknown state: end it.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The caller asked to stop waiting.
    #[error("cancelled")]
    Cancelled,
    /// An interrupted program did not end: it caught the interrupt, or cannot be reached where it
    /// is. End the machine.
    #[error("it did not heed the interrupt")]
    Unheeded,
}

impl MachineError {
    /// A snapshot is a difference, and this machine has nothing to differ from.
    pub(crate) const NOT_FORKED: Self = Self::Unsupported(
        "a machine that was booted has no snapshots: make it a template, and fork that",
    );

    /// A failed file or socket operation.
    pub fn io(what: impl Into<String>, cause: impl Into<io::Error>) -> Self {
        Self::Io {
            what: what.into(),
            cause: cause.into(),
        }
    }
}
