//! Which backend runs sessions.

use crate::{Result, SandboxError};
use serde::{Deserialize, Serialize};
use ukernel_machine::probe::{ProbeConfig, choose_quick};
use ukernel_machine::{BackendKind, MachineError};

/// Every backend a preference may name. Some are for later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendType {
    /// A Firecracker the operator installed.
    Firecracker,
    /// The embedded VMM.
    Kvm,
    /// QEMU.
    Qemu,
    /// The E2B service.
    E2b,
    /// Docker containers.
    Docker,
}

impl BackendType {
    /// The order when nobody says another.
    pub const DEFAULT_ORDER: [Self; 5] = [
        Self::Firecracker,
        Self::Kvm,
        Self::Qemu,
        Self::E2b,
        Self::Docker,
    ];

    /// The name users write.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Firecracker => "firecracker",
            Self::Kvm => "kvm",
            Self::Qemu => "qemu",
            Self::E2b => "e2b",
            Self::Docker => "docker",
        }
    }

    /// What runs it, if this release can.
    const fn kind(self) -> Option<BackendKind> {
        match self {
            Self::Firecracker => Some(BackendKind::Firecracker),
            Self::Kvm => Some(BackendKind::Kvm),
            Self::Qemu => Some(BackendKind::Qemu),
            Self::E2b | Self::Docker => None,
        }
    }
}

impl From<BackendKind> for BackendType {
    fn from(kind: BackendKind) -> Self {
        match kind {
            BackendKind::Kvm => Self::Kvm,
            BackendKind::Firecracker => Self::Firecracker,
            BackendKind::Qemu => Self::Qemu,
        }
    }
}

/// The first of `preference` that this host has. A preference of one is an explicit choice:
/// it is used or refused with its reason.
///
/// # Errors
/// [`SandboxError::NoBackend`] with what is wrong with each.
pub fn first_available(preference: &[BackendType], probe: &ProbeConfig) -> Result<BackendKind> {
    let mut reasons = Vec::new();
    for wanted in preference {
        let Some(kind) = wanted.kind() else {
            reasons.push(format!(
                "{} is not part of this release, use kvm, firecracker or qemu",
                wanted.name()
            ));
            continue;
        };
        match choose_quick(probe, Some(kind)) {
            Ok((kind, _)) => return Ok(kind),
            Err(MachineError::Unavailable { backend, cause }) => {
                reasons.push(format!("{backend}: {cause}"));
            }
            Err(error) => reasons.push(format!("{}: {error}", wanted.name())),
        }
    }
    Err(SandboxError::NoBackend {
        reasons: reasons.join("; "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_of_a_later_release_is_refused_by_name() {
        let probe = ProbeConfig {
            path: Default::default(),
            firecracker: None,
            state_dir: std::env::temp_dir(),
        };
        for wanted in [BackendType::E2b, BackendType::Docker] {
            let error = first_available(&[wanted], &probe).expect_err("not there");
            assert!(error.to_string().contains(wanted.name()), "{error}");
        }
    }
}
