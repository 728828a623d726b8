//! Commands and answers, with every way the other side can fail to answer: late, dead, or
//! with its last words.

use super::host::VmProcess;
use super::message::{Command, Notice, Reply, receive, send};
use crate::exit::{Ending, ExitReason};
use crate::{Result, VmmError, wait};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

/// How long a VM process may take to answer. Generous: hosts are shared.
const ANSWER: Duration = Duration::from_secs(20);

/// Characters of a process's standard error that are shown.
const MAX_SHOWN: usize = 1000;

/// How long an exited process may take to be gone.
const REAP: Duration = Duration::from_secs(20);

impl VmProcess {
    /// Sends a command and waits for its answer.
    pub(super) fn ask(
        &mut self,
        name: &'static str,
        command: &Command,
        files: &[BorrowedFd<'_>],
    ) -> Result<Reply> {
        self.wait_ready()?;
        if let Err(error) = send(self.control.as_fd(), command, files) {
            // It may have ended just now; its last words say why.
            return Err(match self.wait_ending(Duration::ZERO)? {
                Some(ending) => VmmError::Ended(Box::new(ending)),
                None => error,
            });
        }
        match self.answer(name)? {
            Reply::Failed(cause) => Err(VmmError::Remote(cause)),
            Reply::NotNow(cause) => Err(VmmError::NotNow(cause)),
            reply => Ok(reply),
        }
    }

    /// Waits for the answer to a command.
    pub(super) fn answer(&mut self, name: &'static str) -> Result<Reply> {
        if let Some(ending) = &self.ending {
            return Err(VmmError::Ended(Box::new(ending.clone())));
        }
        match self.notice(Instant::now() + ANSWER)? {
            Some(Notice::Reply(reply)) => Ok(reply),
            Some(Notice::Exited(ending)) => {
                self.ending = Some(ending.clone());
                let _ = self.reap();
                Err(VmmError::Ended(Box::new(ending)))
            }
            None => Err(VmmError::Unresponsive {
                command: name,
                waited_ms: u64::try_from(ANSWER.as_millis()).unwrap_or(u64::MAX),
            }),
        }
    }

    /// The next thing the process says; `None` if it says nothing until `until`.
    pub(super) fn notice(&mut self, until: Instant) -> Result<Option<Notice>> {
        if !wait_readable(self.control.as_fd(), until)? {
            return Ok(None);
        }
        match receive::<Notice>(self.control.as_fd())? {
            Some((notice, _)) => Ok(Some(notice)),
            None => {
                let ending = self.reap()?;
                Err(VmmError::Ended(Box::new(ending)))
            }
        }
    }

    /// Waits for the end of a process that is ending, and says how it was.
    pub(super) fn reap(&mut self) -> Result<Ending> {
        if !wait_readable(self.pidfd.as_fd(), Instant::now() + REAP)? {
            return Err(VmmError::Unresponsive {
                command: "its end",
                waited_ms: u64::try_from(REAP.as_millis()).unwrap_or(u64::MAX),
            });
        }
        let status = self
            .child
            .wait()
            .map_err(|error| VmmError::os("waiting for a VM process", error))?;
        let errors = &mut self.errors;
        Ok(self
            .ending
            .get_or_insert_with(|| Ending {
                reason: unsaid(status, errors.read()),
                registers: None,
                serial_tail: Vec::new(),
            })
            .clone())
    }
}

/// Why a process ended that did not say so on its control socket: what it wrote to standard error.
fn unsaid(status: ExitStatus, errors: &[u8]) -> ExitReason {
    let errors = String::from_utf8_lossy(errors);
    let lines: Vec<_> = errors.lines().filter(|line| !line.is_empty()).collect();
    let lines = lines.join("; ");
    if lines.is_empty() {
        return ExitReason::Killed {
            signal: status.signal(),
            status: status.code(),
        };
    }
    let skipped = lines.chars().count().saturating_sub(MAX_SHOWN);
    let shown: String = lines.chars().skip(skipped).collect();
    ExitReason::Vmm {
        what: format!("{status}: {}", shown.escape_debug()),
    }
}

fn wait_readable(file: BorrowedFd<'_>, until: Instant) -> Result<bool> {
    wait::readable(file, until).map_err(|error| VmmError::os("poll", error))
}
