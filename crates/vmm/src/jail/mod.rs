//! The jail: what a VM process takes away from itself before it meets its guest.
//!
//! The guest is hostile. Should it ever break out of KVM or of a device into this
//! process, it finds: no capability, no user of its own, no file system, no network, no
//! new process, no executable memory, some thirty system calls, and only the files of
//! its own VM. Whatever a host does not let us take away is reported, never hidden.
//!
//! No namespaces: Landlock denies the file system and TCP, seccomp denies `socket`,
//! `open`, `stat`, `clone`, `shmget` and `mount` altogether, so a namespace would separate
//! the process from things it cannot name anyway. They would cost 0.8 ms of a 1.5 ms
//! start (measured: network 0.46 ms, at worst 2.9; mounts 0.19; IPC 0.12). Control groups
//! are the parent's to give: a process that could choose its own would not be confined.

mod landlock;
mod privileges;
mod seccomp;

use crate::{Result, VmmError};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;

/// One thing taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Measure {
    /// Executing a file gives no privileges.
    NoNewPrivileges,
    /// The process dies with the thread that launches VMs.
    DiesWithParent,
    /// No core dumps, no tracing by other processes of the same user.
    NotDumpable,
    /// Few files, no processes, bounded files and address space, no core.
    ResourceLimits,
    /// Another user without groups.
    OtherUser,
    /// No capability, now or ever.
    NoCapabilities,
    /// No file system, no TCP, no signals or abstract sockets outward.
    Landlock,
    /// A short list of system calls.
    Seccomp,
}

/// What became of each measure.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JailReport {
    /// In force.
    pub applied: Vec<Measure>,
    /// Not in force, or only in part, and why.
    pub missing: Vec<(Measure, String)>,
}

impl JailReport {
    /// Whether every measure is in force.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty()
    }

    fn note(&mut self, measure: Measure, result: Result<(), String>) {
        match result {
            Ok(()) => self.applied.push(measure),
            Err(why) => self.missing.push((measure, why)),
        }
    }
}

impl fmt::Display for JailReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_complete() {
            return write!(f, "complete");
        }
        write!(f, "missing")?;
        for (measure, why) in &self.missing {
            write!(f, " {measure:?} ({why})")?;
        }
        Ok(())
    }
}

/// Closes every file from descriptor `first` on: nothing inherited by accident stays.
pub(crate) fn close_files_from(first: u32) -> Result<()> {
    // SAFETY: called at the start of the process, when no Rust object owns any of them.
    let code = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
    if code < 0 {
        return Err(VmmError::os("close_range", io::Error::last_os_error()));
    }
    Ok(())
}

/// Takes everything away; `user` is who to become when this is root.
pub(crate) fn close(user: u32) -> JailReport {
    let mut report = JailReport::default();
    report.note(Measure::NoNewPrivileges, privileges::no_new_privileges());
    report.note(Measure::ResourceLimits, privileges::limit_resources());
    report.note(Measure::OtherUser, privileges::become_user(user));
    report.note(Measure::NoCapabilities, privileges::drop_capabilities());
    // Changing the user resets these two, so they come after it.
    report.note(Measure::DiesWithParent, privileges::die_with_parent());
    report.note(Measure::NotDumpable, privileges::not_dumpable());
    report.note(Measure::Landlock, landlock::restrict());
    report.note(Measure::Seccomp, seccomp::restrict());
    report
}

#[cfg(test)]
mod tests {
    //! Each attempt runs in a process of its own, which jails itself and then tries.

    use super::*;
    use std::os::unix::process::ExitStatusExt;

    /// Runs the ignored test `attempt` in another process, and says what ended it.
    fn signal_of(attempt: &str) -> Option<i32> {
        let status = std::process::Command::new(std::env::current_exe().expect("a program"))
            .args(["--exact", &format!("jail::tests::{attempt}"), "--ignored"])
            .stdout(std::process::Stdio::null())
            .status()
            .expect("a process");
        status.signal()
    }

    macro_rules! attempts {
        ($($name:ident: $attempt:expr;)+) => {
            $(
                #[test]
                #[ignore = "ends its process; started by what_is_not_allowed_ends_the_process"]
                fn $name() {
                    close(65_534);
                    let _ = $attempt;
                }
            )+

            #[test]
            fn what_is_not_allowed_ends_the_process() {
                $(assert_eq!(signal_of(stringify!($name)), Some(libc::SIGSYS), stringify!($name));)+
            }
        };
    }

    attempts! {
        opens_a_file: std::fs::File::open("/etc/passwd");
        looks_at_a_file: std::fs::metadata("/etc/passwd");
        opens_a_socket: std::os::unix::net::UnixStream::pair();
        connects: std::net::TcpStream::connect("127.0.0.1:1");
        starts_a_process: std::process::Command::new("/bin/true").status();
        starts_a_thread: std::thread::Builder::new().spawn(|| ());
        makes_memory_executable: mprotect_executable();
        asks_for_its_parent: rustix::process::getppid();
    }

    fn mprotect_executable() -> i32 {
        // SAFETY: a null range of no length changes nothing, if it were allowed at all.
        unsafe { libc::mprotect(std::ptr::null_mut(), 0, libc::PROT_EXEC) }
    }
}
