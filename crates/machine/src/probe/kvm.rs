//! KVM: whether it opens, and how fast it is in either mode.

use super::Finding;
use serde::Serialize;
use ukernel_vmm::VmmError;

/// Below this a mode is not run by the processor but interpreted, in million instructions a
/// second: the slowest processors with KVM do hundreds, the best interpreters single digits.
const NATIVE_MINSTR_PER_S: f64 = 50.0;

/// A KVM device that runs guests.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct KvmDevice {
    /// Version of its interface.
    pub api_version: u32,
    /// Guest code at CPL 0, where operating systems run.
    pub supervisor: ModeSpeed,
    /// Guest code at CPL 3, where the µkernel and its workloads run.
    pub user: ModeSpeed,
}

/// How fast guests run in one mode.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModeSpeed {
    /// Million instructions a second.
    pub minstr_per_s: f64,
    /// Whether the processor runs it, and not an interpreter.
    pub native: bool,
}

impl From<f64> for ModeSpeed {
    fn from(minstr_per_s: f64) -> Self {
        Self {
            minstr_per_s: (minstr_per_s * 10.0).round() / 10.0,
            native: minstr_per_s >= NATIVE_MINSTR_PER_S,
        }
    }
}

pub(super) fn probe() -> Finding<KvmDevice> {
    match ukernel_vmm::speed::measure() {
        Ok(speed) => Finding::Ok(KvmDevice {
            // The only one there is; opening checks it.
            api_version: 12,
            supervisor: speed.supervisor_minstr_per_s.into(),
            user: speed.user_minstr_per_s.into(),
        }),
        Err(error) => trouble(&error),
    }
}

/// Opens the device and nothing more: under a millisecond.
pub(super) fn opens() -> Finding<()> {
    match ukernel_vmm::open_kvm() {
        Ok(_) => Finding::Ok(()),
        Err(error) => trouble(&error),
    }
}

fn trouble<T>(error: &VmmError) -> Finding<T> {
    match error {
        VmmError::KvmMissing => Finding::missing(
            "/dev/kvm does not exist",
            "load the kvm module, or run where KVM is passed through",
        ),
        VmmError::KvmPermission => Finding::denied(
            "/dev/kvm may not be opened",
            "add this user to the group `kvm`, or grant it access",
        ),
        error => Finding::missing(
            format!("KVM does not run a guest ({error})"),
            "update the host's kernel, or run on another host",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interpreter_is_told_from_a_processor() {
        assert!(!ModeSpeed::from(1.7).native);
        assert!(ModeSpeed::from(1000.0).native);
    }

    #[test]
    fn trouble_says_what_to_do() {
        let finding: Finding<()> = trouble(&VmmError::KvmPermission);
        assert!(matches!(&finding, Finding::Denied { .. }));
        assert!(finding.trouble().contains("group `kvm`"));
    }
}
