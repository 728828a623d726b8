//! Which backend to use, and why.

use super::{Finding, ProbeConfig, Report, kvm};
use crate::{BackendKind, MachineError, Result};

/// What is known about the backends, however well.
struct Known {
    kvm: Finding<()>,
    firecracker: Finding<String>,
}

/// Chooses from a whole report. An explicit choice is used or refused, never replaced;
/// without one it is Firecracker where an operator installed it, else the embedded VMM.
///
/// # Errors
/// [`MachineError::Unavailable`] with the reason and what to do.
pub fn choose(report: &Report, explicit: Option<BackendKind>) -> Result<(BackendKind, String)> {
    let known = Known {
        kvm: map(&report.kvm, |_| ()),
        firecracker: map(&report.firecracker, |found| found.version.clone()),
    };
    decide(known, explicit)
}

/// Chooses by what is there, without starting or measuring anything: under a millisecond.
///
/// # Errors
/// As [`choose`].
pub fn choose_quick(
    config: &ProbeConfig,
    explicit: Option<BackendKind>,
) -> Result<(BackendKind, String)> {
    let firecracker = match config.find_firecracker() {
        Some(path) if path.is_file() => Finding::Ok(path.display().to_string()),
        Some(path) => Finding::missing(
            format!("{} is no file", path.display()),
            "set UKERNEL_FIRECRACKER to Firecracker, or unset it",
        ),
        None => Finding::missing(
            "no `firecracker` on PATH",
            "install it, or set UKERNEL_FIRECRACKER to it",
        ),
    };
    let known = Known {
        kvm: kvm::opens(),
        firecracker,
    };
    decide(known, explicit)
}

fn decide(known: Known, explicit: Option<BackendKind>) -> Result<(BackendKind, String)> {
    // Both run on KVM; without it there is nothing to choose.
    let unavailable = |kind: BackendKind, cause| MachineError::Unavailable {
        backend: kind.name(),
        cause,
    };
    if known.kvm.ok().is_none() {
        let kind = explicit.unwrap_or(BackendKind::Kvm);
        return Err(unavailable(kind, known.kvm.trouble()));
    }
    match (explicit, known.firecracker.ok()) {
        (Some(BackendKind::Qemu), _) => Err(unavailable(
            BackendKind::Qemu,
            "it runs Linux guests only; use kvm or firecracker".to_owned(),
        )),
        (Some(BackendKind::Kvm), _) => Ok((BackendKind::Kvm, "asked for".to_owned())),
        (Some(BackendKind::Firecracker), Some(found)) => {
            Ok((BackendKind::Firecracker, format!("asked for: {found}")))
        }
        (Some(BackendKind::Firecracker), None) => Err(unavailable(
            BackendKind::Firecracker,
            known.firecracker.trouble(),
        )),
        (None, Some(found)) => Ok((
            BackendKind::Firecracker,
            format!("Firecracker is installed: {found}"),
        )),
        (None, None) => Ok((
            BackendKind::Kvm,
            format!(
                "KVM works; not Firecracker: {}",
                known.firecracker.trouble()
            ),
        )),
    }
}

fn map<T, U>(finding: &Finding<T>, f: impl FnOnce(&T) -> U) -> Finding<U> {
    match finding {
        Finding::Ok(found) => Finding::Ok(f(found)),
        Finding::Missing { reason, hint } => Finding::missing(reason, hint),
        Finding::Denied { reason, hint } => Finding::denied(reason, hint),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(kvm: bool, firecracker: bool) -> Known {
        Known {
            kvm: match kvm {
                true => Finding::Ok(()),
                false => Finding::denied("closed", "open it"),
            },
            firecracker: match firecracker {
                true => Finding::Ok("v1".to_owned()),
                false => Finding::missing("none", "install it"),
            },
        }
    }

    #[test]
    fn an_explicit_choice_is_obeyed_or_refused() {
        for kind in BackendKind::ALL {
            let (chosen, _) = decide(known(true, true), Some(kind)).expect("there");
            assert_eq!(chosen, kind);
            let refused = decide(known(false, true), Some(kind)).expect_err("no KVM");
            assert!(refused.to_string().contains(kind.name()), "{refused}");
            assert!(refused.to_string().contains("open it"), "{refused}");
        }
        let refused = decide(known(true, false), Some(BackendKind::Firecracker));
        assert!(
            refused
                .expect_err("no firecracker")
                .to_string()
                .contains("install it")
        );
        let (chosen, _) = decide(known(true, false), Some(BackendKind::Kvm)).expect("there");
        assert_eq!(chosen, BackendKind::Kvm);
    }

    #[test]
    fn firecracker_is_used_where_it_is_installed() {
        let (chosen, why) = decide(known(true, true), None).expect("there");
        assert_eq!(chosen, BackendKind::Firecracker, "{why}");
        let (chosen, why) = decide(known(true, false), None).expect("there");
        assert_eq!(chosen, BackendKind::Kvm);
        assert!(why.contains("install it"), "{why}");
        assert!(decide(known(false, false), None).is_err());
    }
}
