//! What the kernel offers to confine processes and to serve their memory.

use super::Finding;
use landlock::{ABI, Access, AccessFs, LandlockStatus, Ruleset, RulesetAttr};
use rustix::fs::{Access as FileAccess, access};
use serde::Serialize;

/// Landlock.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Landlock {
    /// Version of its interface.
    pub abi: i32,
}

/// userfaultfd.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Userfaultfd {
    /// `syscall` or `device`.
    pub through: &'static str,
}

/// Asks by locking a thread in that ends at once: it is the one way that says the version.
pub(super) fn landlock() -> Finding<Landlock> {
    let asked = std::thread::spawn(|| {
        Ruleset::default()
            .handle_access(AccessFs::from_all(ABI::V1))
            .and_then(Ruleset::create)
            .and_then(landlock::RulesetCreated::restrict_self)
            .map(|status| status.landlock)
    });
    match asked.join() {
        Ok(Ok(LandlockStatus::Available {
            effective_abi,
            kernel_abi,
        })) => Finding::Ok(Landlock {
            abi: kernel_abi.unwrap_or(effective_abi as i32),
        }),
        Ok(Ok(LandlockStatus::NotEnabled)) => Finding::missing(
            "Landlock is built in and switched off",
            "add `landlock` to the kernel's lsm= list; VMs run without it",
        ),
        Ok(Err(error)) => Finding::denied(
            format!("Landlock cannot be used ({error})"),
            "VMs run without it",
        ),
        _ => Finding::missing(
            "the kernel has no Landlock",
            "use Linux 5.13 or later; VMs run without it",
        ),
    }
}

pub(super) fn userfaultfd() -> Finding<Userfaultfd> {
    let everyone = std::fs::read_to_string("/proc/sys/vm/unprivileged_userfaultfd");
    let Ok(everyone) = everyone else {
        return Finding::missing(
            "the kernel has no userfaultfd",
            "use a kernel built with it; memory is then mapped as a whole",
        );
    };
    if everyone.trim() == "1" || rustix::process::geteuid().is_root() {
        return Finding::Ok(Userfaultfd { through: "syscall" });
    }
    if access(
        "/dev/userfaultfd",
        FileAccess::READ_OK | FileAccess::WRITE_OK,
    )
    .is_ok()
    {
        return Finding::Ok(Userfaultfd { through: "device" });
    }
    Finding::denied(
        "userfaultfd is kept from this user",
        "grant access to /dev/userfaultfd; memory is mapped as a whole without it",
    )
}
