//! How the command fails: one line, a hint, an exit code.

use std::fmt;
use ukernel_daemon::DaemonError;
use ukernel_daemon::protocol::FailureKind;
use ukernel_machine::MachineError;
use ukernel_sandbox::SandboxError;

/// The workload failed.
pub const WORKLOAD: u8 = 1;
/// Wrong usage or configuration.
pub const USAGE: u8 = 2;
/// The host cannot do it.
pub const HOST: u8 = 3;
/// There is an answer, and it is only the best there was when a limit came.
pub const PARTIAL: u8 = 4;
/// A time limit was reached.
pub const TIME_LIMIT: u8 = 124;
/// Ended by Ctrl-C, as shells count it: 128 + SIGINT.
pub const INTERRUPTED: u8 = 130;

/// An error a user is told about.
#[derive(Debug)]
pub struct Failure {
    what: String,
    hint: Option<String>,
    code: u8,
    /// Which failure it is, for programs.
    kind: Option<String>,
}

impl Failure {
    /// Wrong usage or configuration.
    pub fn usage(what: impl fmt::Display, hint: impl Into<String>) -> Self {
        Self {
            what: what.to_string(),
            hint: Some(hint.into()),
            code: USAGE,
            kind: None,
        }
    }

    /// The host cannot do it.
    pub fn host(what: impl fmt::Display, hint: impl Into<String>) -> Self {
        Self {
            what: what.to_string(),
            hint: Some(hint.into()),
            code: HOST,
            kind: None,
        }
    }

    /// The workload, or the VM it ran in, failed.
    pub fn workload(what: impl fmt::Display, hint: Option<String>) -> Self {
        Self {
            what: what.to_string(),
            hint,
            code: WORKLOAD,
            kind: None,
        }
    }

    /// With this exit code.
    pub fn with_code(what: impl fmt::Display, hint: Option<String>, code: u8) -> Self {
        Self {
            what: what.to_string(),
            hint,
            code,
            kind: None,
        }
    }

    /// A failure of a sandbox: what it means for the exit code, and what to do.
    fn of_failure(kind: FailureKind, what: impl fmt::Display) -> Self {
        let (code, hint) = match kind {
            FailureKind::TimeLimit => (
                TIME_LIMIT,
                Some("give more time with --timeout, or do less at once"),
            ),
            FailureKind::Interrupted => (INTERRUPTED, None),
            FailureKind::NameTaken => (USAGE, Some("choose another name")),
            FailureKind::NoSession => (USAGE, Some("`ukernel session list` shows them")),
            FailureKind::NoSnapshot => (USAGE, Some("`ukernel session snapshots` shows them")),
            FailureKind::BadName | FailureKind::BadRequest => (USAGE, None),
            FailureKind::NoVm => (HOST, Some("try again when fewer are starting")),
            FailureKind::Host => (HOST, Some("`ukernel doctor` says what this host lacks")),
            FailureKind::Busy
            | FailureKind::Limit
            | FailureKind::Damaged
            | FailureKind::Cancelled
            | FailureKind::VmLost
            | FailureKind::Failed => (WORKLOAD, None),
        };
        Self::with_code(what, hint.map(ToOwned::to_owned), code).of_kind(kind.name())
    }

    /// The same, as this kind for programs.
    #[must_use]
    pub fn of_kind(self, kind: String) -> Self {
        Self {
            kind: Some(kind),
            ..self
        }
    }

    /// Which failure it is, for programs.
    pub fn kind(&self) -> &str {
        self.kind.as_deref().unwrap_or("failed")
    }

    /// What failed.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// What to do.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The exit code.
    pub fn code(&self) -> u8 {
        self.code
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // One line, whatever the text brings along.
        let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        write!(out, "error: {}", flat(&self.what))?;
        match &self.hint {
            Some(hint) => write!(out, ". hint: {}", flat(hint)),
            None => Ok(()),
        }
    }
}

impl From<MachineError> for Failure {
    fn from(error: MachineError) -> Self {
        match &error {
            MachineError::Unavailable { .. }
            | MachineError::Vmm(_)
            | MachineError::Firecracker { .. } => {
                Self::host(&error, "`ukernel doctor` says what this host lacks")
            }
            _ => Self::workload(&error, None),
        }
    }
}

impl From<ukernel_image::ImageError> for Failure {
    fn from(error: ukernel_image::ImageError) -> Self {
        if error.is_usage() {
            return Self::usage(&error, error.hint());
        }
        Self::host(&error, error.hint())
    }
}

impl From<SandboxError> for Failure {
    fn from(error: SandboxError) -> Self {
        match error {
            SandboxError::Machine(error) => error.into(),
            SandboxError::Image(error) => error.into(),
            error => Self::of_failure(FailureKind::from(&error), &error),
        }
    }
}

impl From<DaemonError> for Failure {
    fn from(error: DaemonError) -> Self {
        let what = chain(&error);
        match error {
            DaemonError::Sandbox(error) => error.into(),
            DaemonError::Failed { kind, message } => Self::of_failure(kind, message),
            DaemonError::PathTooLong(_) => Self::usage(what, "set UKERNEL_HOME to a shorter path"),
            DaemonError::RequestTooLong => Self::usage(what, "use shorter names"),
            DaemonError::OtherVersion { .. } => Self::host(
                what,
                "`ukernel serve --stop` ends it; the next command starts ours",
            ),
            DaemonError::Silent(_) => Self::host(what, "end its process, if it does not recover"),
            DaemonError::Taken => Self::usage(what, "`ukernel serve --stop` ends it"),
            DaemonError::Start(_) | DaemonError::Ended { .. } | DaemonError::NoAnswer { .. } => {
                Self::host(what, "try `ukernel serve` in another terminal")
            }
            DaemonError::Gone(_) => Self::workload(
                what,
                Some("`ukernel session list` says what it left".to_owned()),
            ),
            DaemonError::NotEnding(_) => Self::workload(what, None),
        }
    }
}

/// An error and its sources, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
