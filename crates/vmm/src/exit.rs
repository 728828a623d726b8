//! How a VM ended.

use serde::{Deserialize, Serialize};
use std::fmt;
use ukernel_abi::layout::GuestExit;

/// Why a VM ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitReason {
    /// The guest ended itself, with this code on its exit port.
    Guest {
        /// See [`GuestExit`]; codes that are not one of it are possible too.
        code: u32,
    },
    /// The guest broke the contract with its devices, hostile or damaged.
    ProtocolViolation {
        /// Which rule it broke.
        what: String,
    },
    /// The processor gave up: triple fault, or an instruction KVM cannot emulate.
    CpuFailure {
        /// What KVM reported.
        what: String,
    },
    /// The host asked for it.
    Stopped,
    /// The VMM itself failed.
    Vmm {
        /// What failed.
        what: String,
    },
    /// The process died without a word.
    Killed {
        /// Signal that ended it, if one did.
        signal: Option<i32>,
        /// Its exit status otherwise.
        status: Option<i32>,
    },
}

impl ExitReason {
    /// Whether the guest asked for an orderly end.
    #[must_use]
    pub fn is_shutdown(&self) -> bool {
        matches!(self, Self::Guest { code } if *code == GuestExit::Shutdown as u32)
    }
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Guest { code } => match GuestExit::from_code(*code) {
                Some(exit) => write!(f, "guest ended itself: {exit:?}"),
                None => write!(f, "guest ended itself with unknown code {code}"),
            },
            Self::ProtocolViolation { what } => {
                write!(f, "guest broke the device contract: {what}")
            }
            Self::CpuFailure { what } => write!(f, "processor stopped: {what}"),
            Self::Stopped => write!(f, "stopped by the host"),
            Self::Vmm { what } => write!(f, "VMM failed: {what}"),
            Self::Killed { signal, status } => match (signal, status) {
                (Some(signal), _) => write!(f, "process killed by signal {signal}"),
                (_, Some(status)) => write!(f, "process exited with status {status}"),
                _ => write!(f, "process is gone"),
            },
        }
    }
}

/// Everything known about the end of a VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// Why it ended.
    pub reason: ExitReason,
    /// The vCPU's registers, for people, when they could be read.
    pub registers: Option<String>,
    /// Last bytes the guest wrote to its serial port.
    pub serial_tail: Vec<u8>,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}
