//! One process that is a machine: started, watched, ended.

use crate::starter::Starter;
use crate::{Ending, MachineError, Result};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use ukernel_abi::layout::SERIAL_EXIT;
use ukernel_vmm::tail::Tail;
use ukernel_vmm::wait;

/// How long an ended process may take to be gone.
const REAP: Duration = Duration::from_secs(20);

/// Tells from a status, the end of the serial line and the end of the log why a process ended.
type Describe = fn(ExitStatus, &[u8], &[u8]) -> Ending;

/// A running process. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    pidfd: OwnedFd,
    serial: Tail,
    log: Tail,
    describe: Describe,
    ending: Option<Ending>,
}

impl Process {
    /// Starts a program without environment or input, whose standard output is the guest's serial line and whose
    /// standard error its own log.
    pub(crate) fn spawn(
        starter: &Starter,
        mut command: Command,
        describe: Describe,
    ) -> Result<Self> {
        let failed = |error| MachineError::io("setting up the process of a machine", error);
        let (serial, serial_writer) = Tail::new().map_err(failed)?;
        let (log, log_writer) = Tail::new().map_err(failed)?;
        command
            .env_clear()
            .stdin(Stdio::null())
            .stdout(serial_writer)
            .stderr(log_writer);
        let mut child = starter.start(command)?;
        let pidfd = match watch(&child) {
            Ok(pidfd) => pidfd,
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(MachineError::io("pidfd_open", error));
            }
        };
        Ok(Self {
            child,
            pidfd,
            serial,
            log,
            describe,
            ending: None,
        })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the process to end; `None` if it has not after `timeout`.
    pub(crate) fn wait_ending(&mut self, timeout: Duration) -> Result<Option<Ending>> {
        if let Some(ending) = &self.ending {
            return Ok(Some(ending.clone()));
        }
        let failed = |error| MachineError::io("waiting for the process of a machine", error);
        let deadline = Instant::now() + timeout;
        if !wait::readable(self.pidfd.as_fd(), deadline).map_err(failed)? {
            return Ok(None);
        }
        let status = self.child.wait().map_err(failed)?;
        let ending = (self.describe)(status, self.serial.read(), self.log.read());
        Ok(Some(self.ending.insert(ending).clone()))
    }

    /// Ends the process and waits for it.
    pub(crate) fn kill(&mut self) -> Result<Ending> {
        // Fails only if the process is gone already.
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
        self.wait_ending(REAP)?.ok_or(MachineError::TimedOut(REAP))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
        let _ = self.child.wait();
    }
}

fn watch(child: &Child) -> std::io::Result<OwnedFd> {
    let pid = i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .ok_or(rustix::io::Errno::SRCH)?;
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}

/// The code a µkernel said on its serial line before it ended itself. Only the kernel can write
/// there; a kernel that lies about its end gains nothing.
pub(crate) fn exit_code(serial: &[u8]) -> Option<u32> {
    String::from_utf8_lossy(serial)
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix(SERIAL_EXIT)?.trim().parse().ok())
}
