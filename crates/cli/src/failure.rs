//! How the command fails: one line, a hint, an exit code.

use std::fmt;
use ukernel_machine::MachineError;
use ukernel_sandbox::SandboxError;

/// The workload failed.
pub const WORKLOAD: u8 = 1;
/// Wrong usage or configuration.
pub const USAGE: u8 = 2;
/// The host cannot do it.
pub const HOST: u8 = 3;
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
        Self::host(&error, error.hint())
    }
}

impl From<SandboxError> for Failure {
    fn from(error: SandboxError) -> Self {
        let hint = |text: &str| Some(text.to_owned());
        match error {
            SandboxError::Machine(error) => error.into(),
            SandboxError::Image(error) => error.into(),
            SandboxError::NoBackend { .. } => {
                Self::host(error, "`ukernel doctor` says what this host lacks")
            }
            SandboxError::TimeLimit { .. } => Self::with_code(
                error,
                hint("give more time with --timeout, or do less at once"),
                TIME_LIMIT,
            ),
            SandboxError::BadName { .. } | SandboxError::Config(_) => {
                Self::with_code(error, None, USAGE)
            }
            SandboxError::NameTaken { .. } => {
                Self::with_code(error, hint("choose another name"), USAGE)
            }
            SandboxError::NoSession(_) => {
                Self::with_code(error, hint("`ukernel session list` shows them"), USAGE)
            }
            SandboxError::NoSnapshot(_) => {
                Self::with_code(error, hint("`ukernel session snapshots` shows them"), USAGE)
            }
            SandboxError::AllocationTimeout { .. } => {
                Self::with_code(error, hint("try again when fewer are starting"), HOST)
            }
            SandboxError::Io { .. } | SandboxError::Template { .. } => {
                Self::with_code(error, None, HOST)
            }
            _ => Self::workload(error, None),
        }
    }
}
