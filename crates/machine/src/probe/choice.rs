//! Which backend to use, and why.

use super::{Finding, ProbeConfig, Report, kvm, programs};
use crate::{BackendKind, MachineError, Result};

/// What is known about the backends, however well.
struct Known {
    kvm: Finding<()>,
    firecracker: Finding<String>,
    qemu: Finding<String>,
}

/// Chooses from a whole report. An explicit choice is used or refused, never replaced;
/// without one it is Firecracker where an operator installed it, else the embedded VMM; QEMU, which
/// emulates the processor, where there is no KVM.
///
/// # Errors
/// [`MachineError::Unavailable`] with the reason and what to do.
pub fn choose(report: &Report, explicit: Option<BackendKind>) -> Result<(BackendKind, String)> {
    let known = Known {
        kvm: map(&report.kvm, |_| ()),
        firecracker: map(&report.firecracker, |found| found.version.clone()),
        qemu: map(&report.qemu, |found| found.version.clone()),
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
    let qemu = programs::find_qemu(&config.path);
    let known = Known {
        kvm: kvm::opens(),
        firecracker,
        qemu: map(&qemu, |path| path.display().to_string()),
    };
    decide(known, explicit)
}

fn decide(known: Known, explicit: Option<BackendKind>) -> Result<(BackendKind, String)> {
    let Known {
        kvm,
        firecracker,
        qemu,
    } = known;
    let wanted = match explicit {
        Some(kind) => kind,
        None if kvm.ok().is_none() && qemu.ok().is_some() => BackendKind::Qemu,
        None if kvm.ok().is_some() && firecracker.ok().is_some() => BackendKind::Firecracker,
        None => BackendKind::Kvm,
    };
    let unavailable = |cause| MachineError::Unavailable {
        backend: wanted.name(),
        cause,
    };
    let why = match (wanted, kvm.ok(), firecracker.ok(), qemu.ok()) {
        (BackendKind::Qemu, _, _, None) => return Err(unavailable(qemu.trouble())),
        (BackendKind::Qemu, _, _, Some(_)) if explicit.is_none() => {
            format!("QEMU emulates the processor; no KVM: {}", kvm.trouble())
        }
        (BackendKind::Qemu, _, _, Some(found)) => format!("asked for: {found}"),
        // Both others run on KVM.
        (_, None, _, _) => return Err(unavailable(kvm.trouble())),
        (BackendKind::Firecracker, _, None, _) => return Err(unavailable(firecracker.trouble())),
        (BackendKind::Firecracker, _, Some(found), _) if explicit.is_none() => {
            format!("Firecracker is installed: {found}")
        }
        (BackendKind::Firecracker, _, Some(found), _) => format!("asked for: {found}"),
        (BackendKind::Kvm, ..) if explicit.is_some() => "asked for".to_owned(),
        (BackendKind::Kvm, ..) => {
            format!("KVM works; not Firecracker: {}", firecracker.trouble())
        }
    };
    Ok((wanted, why))
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

    fn found(is_there: bool, hint: &str) -> Finding<String> {
        match is_there {
            true => Finding::Ok("v1".to_owned()),
            false => Finding::missing("none", hint),
        }
    }

    fn known(kvm: bool, firecracker: bool, qemu: bool) -> Known {
        Known {
            kvm: match kvm {
                true => Finding::Ok(()),
                false => Finding::denied("closed", "open it"),
            },
            firecracker: found(firecracker, "install it"),
            qemu: found(qemu, "get it"),
        }
    }

    #[test]
    fn an_explicit_choice_is_obeyed_or_refused() {
        for kind in BackendKind::ALL {
            let (chosen, _) = decide(known(true, true, true), Some(kind)).expect("there");
            assert_eq!(chosen, kind);
            let refused = match kind {
                BackendKind::Qemu => decide(known(true, true, false), Some(kind)),
                _ => decide(known(false, true, true), Some(kind)),
            };
            let refused = refused.expect_err("lacking").to_string();
            assert!(refused.contains(kind.name()), "{refused}");
            let hint = match kind {
                BackendKind::Qemu => "get it",
                _ => "open it",
            };
            assert!(refused.contains(hint), "{refused}");
        }
        let refused = decide(known(true, false, true), Some(BackendKind::Firecracker));
        let refused = refused.expect_err("no firecracker").to_string();
        assert!(refused.contains("install it"), "{refused}");
        let (chosen, _) = decide(known(true, false, true), Some(BackendKind::Kvm)).expect("there");
        assert_eq!(chosen, BackendKind::Kvm);
    }

    #[test]
    fn the_fastest_there_is_is_used() {
        for (kvm, firecracker, qemu, expected) in [
            (true, true, true, Some(BackendKind::Firecracker)),
            (true, false, true, Some(BackendKind::Kvm)),
            (true, false, false, Some(BackendKind::Kvm)),
            (false, true, true, Some(BackendKind::Qemu)),
            (false, true, false, None),
        ] {
            let chosen = decide(known(kvm, firecracker, qemu), None);
            assert_eq!(chosen.ok().map(|(kind, _)| kind), expected);
        }
        let (_, why) = decide(known(true, false, true), None).expect("there");
        assert!(why.contains("install it"), "{why}");
        let (_, why) = decide(known(false, false, true), None).expect("there");
        assert!(why.contains("open it"), "{why}");
    }
}
