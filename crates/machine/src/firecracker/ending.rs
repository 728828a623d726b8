//! Why a Firecracker process ended, told from its status and last words.
//!
//! Firecracker has one way out for a guest, the reset line, and tells the host nothing with
//! it. So the µkernel says its exit code on the serial line first. Only the kernel can
//! write there; a kernel that lies about its end gains nothing.

use crate::process::exit_code;
use crate::{Ending, ExitReason};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// Code of a guest that reset without saying why.
const UNSAID: u32 = u32::MAX;

pub(super) fn describe(status: ExitStatus, serial: &[u8], log: &[u8]) -> Ending {
    let reason = match (status.code(), status.signal()) {
        (Some(0), _) => ExitReason::Guest {
            code: exit_code(serial).unwrap_or(UNSAID),
        },
        (Some(code), _) => failure(code, log),
        (None, signal) => ExitReason::Killed {
            signal,
            status: None,
        },
    };
    Ending {
        reason,
        registers: None,
        serial_tail: serial.to_vec(),
    }
}

fn failure(code: i32, log: &[u8]) -> ExitReason {
    let log = String::from_utf8_lossy(log);
    if let Some(line) = log
        .lines()
        .find(|line| line.contains("exit reason on vcpu run"))
    {
        return ExitReason::CpuFailure {
            what: line.to_owned(),
        };
    }
    let last = log
        .lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .unwrap_or("it logged nothing");
    ExitReason::Vmm {
        what: format!("status {code}: {last}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ukernel_abi::layout::{GuestExit, SERIAL_EXIT};

    #[test]
    fn a_panic_is_not_taken_for_an_orderly_end() {
        let ok = ExitStatus::from_raw(0);
        let said = format!("ukernel: fatal: x\n{SERIAL_EXIT}1\n");
        let reason = describe(ok, said.as_bytes(), b"").reason;
        let code = GuestExit::Panic as u32;
        assert_eq!(reason, ExitReason::Guest { code });
        assert!(!describe(ok, b"", b"").reason.is_shutdown());
    }

    #[test]
    fn a_triple_fault_is_told_from_a_failing_vmm() {
        let status = ExitStatus::from_raw(1 << 8);
        let log = b"Unexpected exit reason on vcpu run: Shutdown\n";
        let reason = describe(status, b"", log).reason;
        assert!(matches!(reason, ExitReason::CpuFailure { .. }), "{reason}");
        let reason = describe(status, b"", b"no space\n\n").reason;
        assert_eq!(reason.to_string(), "VMM failed: status 1: no space");
    }
}
