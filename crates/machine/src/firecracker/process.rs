//! One Firecracker process in a folder of its own.

use super::Shared;
use super::ending;
use crate::process::Process as Supervised;
use crate::{Ending, MachineError, Result};
use serde::Serialize;
use std::fs::{File, Permissions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use ukernel_vmm::wait;

/// API socket, in the process's folder.
const API_SOCKET: &str = "api";
/// Socket of the guest's vsock device, in the process's folder.
pub(super) const VSOCK_SOCKET: &str = "vsock";

/// How long a started process may take to open its API socket.
const START: Duration = Duration::from_secs(20);
/// How often the API socket is looked for.
const LOOK: Duration = Duration::from_micros(300);

/// A running Firecracker. Dropping it kills the process and removes its folder.
#[derive(Debug)]
pub(super) struct Process {
    process: Supervised,
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
        let mut command = Command::new(&shared.program);
        command
            .args(["--api-sock", API_SOCKET, "--level", "Error"])
            .args(["--log-path", "/proc/self/fd/2"])
            .current_dir(folder.path());
        Ok(Self {
            process: Supervised::spawn(&shared.starter, command, ending::describe)?,
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
        self.process.id()
    }

    /// Waits for the process to end; `None` if it has not after `timeout`.
    pub(super) fn wait_ending(&mut self, timeout: Duration) -> Result<Option<Ending>> {
        self.process.wait_ending(timeout)
    }

    /// Ends the process and waits for it.
    pub(super) fn kill(&mut self) -> Result<Ending> {
        self.process.kill()
    }
}

/// The error of an operation on a process that has ended.
pub(super) fn ended(ending: &Ending) -> MachineError {
    MachineError::Firecracker {
        cause: format!("the process has ended: {ending}"),
    }
}
