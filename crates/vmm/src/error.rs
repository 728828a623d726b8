//! What can go wrong on the host's side of a VM.

use std::io;

/// Shorthand for results of this crate.
pub type Result<T, E = VmmError> = std::result::Result<T, E>;

/// A failure of the VMM or of the host. What a guest does wrong is not an error of the
/// VMM: it ends that VM with an [`ExitReason`](crate::ExitReason).
#[derive(Debug, thiserror::Error)]
pub enum VmmError {
    /// The host has no KVM device.
    #[error("/dev/kvm does not exist: load the kvm module, or run where KVM is passed through")]
    KvmMissing,
    /// The KVM device is there, this user may not open it.
    #[error("/dev/kvm may not be opened: add this user to the group `kvm`, or grant it access")]
    KvmPermission,
    /// The KVM device cannot be opened or is not the expected one.
    #[error("/dev/kvm is unusable ({cause}): try another way to run VMs")]
    KvmUnusable {
        /// What opening or asking it gave.
        cause: String,
    },
    /// A KVM request failed.
    #[error("{request} failed: {cause}")]
    Kvm {
        /// Name of the ioctl.
        request: &'static str,
        /// What the kernel said.
        cause: io::Error,
    },
    /// A system call failed.
    #[error("{what} failed: {cause}")]
    Os {
        /// What was attempted.
        what: &'static str,
        /// What the kernel said.
        cause: io::Error,
    },
    /// A memory size out of range.
    #[error(
        "guest memory of {mebibytes} MiB with an image of {image_bytes} bytes is not possible: \
         give {min} to {max} MiB, at least 16 MiB more than the image"
    )]
    BadMemory {
        /// What was asked for, in MiB.
        mebibytes: u32,
        /// Size of the image, in bytes.
        image_bytes: u64,
        /// Smallest size, in MiB.
        min: u32,
        /// Largest size, in MiB.
        max: u32,
    },
    /// The kernel file cannot be booted.
    #[error("kernel cannot be booted: {cause}; it must be an x86-64 ELF with a PVH entry note")]
    BadKernel {
        /// What the loader found.
        cause: String,
    },
    /// The command line does not fit.
    #[error("kernel command line of {length} bytes is too long, at most {max}")]
    CommandLineTooLong {
        /// Its length.
        length: usize,
        /// What fits.
        max: usize,
    },
    /// Guest memory could not be set up or read.
    #[error("guest memory: {cause}")]
    Memory {
        /// What happened.
        cause: String,
    },
    /// Bytes that are not a VM state of this release.
    #[error("VM state cannot be used: {cause}; take the snapshot again with this release")]
    BadState {
        /// What is wrong with them.
        cause: &'static str,
    },
    /// Bytes that are not a memory difference.
    #[error("memory difference cannot be used: {cause}")]
    BadDiff {
        /// What is wrong with it.
        cause: &'static str,
    },
    /// The order of commands makes no sense.
    #[error("{command} is not possible now: {cause}")]
    WrongMoment {
        /// What was asked for.
        command: &'static str,
        /// Why it cannot be done.
        cause: &'static str,
    },
    /// The other side of the control socket does not follow the protocol.
    #[error("control protocol: {cause}")]
    Protocol {
        /// What was received.
        cause: &'static str,
    },
    /// The VM's process did not answer in time. It is in an unknown state: drop it.
    #[error("VM process did not answer {command} within {waited_ms} ms: drop it")]
    Unresponsive {
        /// What was asked for.
        command: &'static str,
        /// How long was waited.
        waited_ms: u64,
    },
    /// The VM ended; nothing can be asked of it any more.
    #[error("the VM has ended ({0})")]
    Ended(Box<crate::Ending>),
    /// The VM's process refused a command.
    #[error("VM process: {0}")]
    Remote(String),
    /// The VM's process refused a command that it may follow later, once its guest has gone on.
    #[error("VM process: {0}")]
    NotNow(String),
}

impl VmmError {
    /// An error of the system call `what`.
    pub(crate) fn os(what: &'static str, cause: impl Into<io::Error>) -> Self {
        Self::Os {
            what,
            cause: cause.into(),
        }
    }

    /// An error of setting up or accessing guest memory.
    pub(crate) fn memory(cause: impl std::fmt::Display) -> Self {
        Self::Memory {
            cause: cause.to_string(),
        }
    }

    /// Turns a KVM error into one that names the request.
    pub(crate) fn kvm(request: &'static str) -> impl FnOnce(kvm_ioctls::Error) -> Self {
        move |error| Self::Kvm {
            request,
            cause: io::Error::from_raw_os_error(error.errno()),
        }
    }
}
