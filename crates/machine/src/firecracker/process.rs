//! One Firecracker process in a folder of its own.

use super::Shared;
use super::ending;
use crate::{Ending, MachineError, Result};
use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, Signal, pidfd_open, pidfd_send_signal, prlimit,
};
use serde::Serialize;
use std::fs::{File, Permissions};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use ukernel_vmm::tail::Tail;
use ukernel_vmm::wait;

/// API socket, in the process's folder.
const API_SOCKET: &str = "api";
/// Socket of the guest's vsock device, in the process's folder.
pub(super) const VSOCK_SOCKET: &str = "vsock";

/// How long a started process may take to open its API socket.
const START: Duration = Duration::from_secs(20);
/// How long an ended process may take to be gone.
const REAP: Duration = Duration::from_secs(20);
/// How often the API socket is looked for.
const LOOK: Duration = Duration::from_micros(300);

/// A running Firecracker. Dropping it kills the process and removes its folder.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    pidfd: OwnedFd,
    serial: Tail,
    log: Tail,
    ending: Option<Ending>,
    /// The folder, open: sockets are reached through it however long its path is.
    handle: File,
    _folder: TempDir,
}

impl Process {
    /// Starts a process, without waiting until it takes requests.
    pub(super) fn spawn(shared: &Shared) -> Result<Self> {
        let failed = |error| MachineError::io("setting up a firecracker process", error);
        let folder = tempfile::Builder::new()
            .prefix("fc-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(&shared.run_dir)
            .map_err(|error| MachineError::io(format!("in {}", shared.run_dir.display()), error))?;
        let handle = File::open(folder.path()).map_err(failed)?;
        let (serial, serial_writer) = Tail::new().map_err(failed)?;
        let (log, log_writer) = Tail::new().map_err(failed)?;
        let mut command = Command::new(&shared.program);
        command
            .args(["--api-sock", API_SOCKET, "--level", "Error"])
            .args(["--log-path", "/proc/self/fd/2"])
            .current_dir(folder.path())
            .env_clear()
            .stdin(Stdio::null())
            .stdout(serial_writer)
            .stderr(log_writer);
        let mut child = shared.starter.start(command)?;
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
            ending: None,
            handle,
            _folder: folder,
        })
    }

    /// Waits until the process takes requests.
    pub(super) fn wait_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + START;
        let socket = self.path(API_SOCKET);
        let connected = wait::until(deadline, LOOK, || {
            let connected = UnixStream::connect(&socket);
            match self.wait_ending(Duration::ZERO)? {
                Some(ending) => Err(ended(&ending)),
                None => Ok(connected.ok()),
            }
        })?;
        connected.map_or(Err(MachineError::TimedOut(START)), |_| Ok(()))
    }

    /// Path of a socket of the process, short enough for a socket address.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{name}", self.handle.as_raw_fd()))
    }

    /// Sends a request to the API.
    pub(super) fn request(
        &mut self,
        method: &str,
        path: &str,
        body: &impl Serialize,
        limit: Duration,
    ) -> Result<()> {
        let result = super::api::request(&self.path(API_SOCKET), method, path, body, limit);
        // A request may end the process (a snapshot it cannot load): its last words say
        // more than a closed connection does.
        match result {
            Err(MachineError::Io { .. } | MachineError::Firecracker { .. }) => {
                match self.wait_ending(Duration::ZERO)? {
                    Some(ending) => Err(ended(&ending)),
                    None => result,
                }
            }
            other => other,
        }
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the process to end; `None` if it has not after `timeout`.
    pub(super) fn wait_ending(&mut self, timeout: Duration) -> Result<Option<Ending>> {
        if let Some(ending) = &self.ending {
            return Ok(Some(ending.clone()));
        }
        let gone = wait::readable(self.pidfd.as_fd(), Instant::now() + timeout)
            .map_err(|error| MachineError::io("waiting for firecracker", error))?;
        if !gone {
            return Ok(None);
        }
        let status = self
            .child
            .wait()
            .map_err(|error| MachineError::io("waiting for firecracker", error))?;
        let ending = ending::describe(status, self.serial.read(), self.log.read());
        Ok(Some(self.ending.insert(ending).clone()))
    }

    /// Ends the process and waits for it.
    pub(super) fn kill(&mut self) -> Result<Ending> {
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

/// A handle on the process, whose core dumps would be the guest's memory: none.
fn watch(child: &Child) -> std::io::Result<OwnedFd> {
    let pid = i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .ok_or(rustix::io::Errno::SRCH)?;
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    prlimit(Some(pid), Resource::Core, none)?;
    Ok(pidfd)
}

/// The error of an operation on a process that has ended.
pub(super) fn ended(ending: &Ending) -> MachineError {
    MachineError::Firecracker {
        cause: format!("the process has ended: {ending}"),
    }
}
