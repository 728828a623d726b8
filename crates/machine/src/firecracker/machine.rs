//! A machine: booted or restored, paused, connected to, made a template.

use super::changes::Changes;
use super::process::{Process, VSOCK_SOCKET, ended};
use super::template::{FirecrackerTemplate, Snapshot};
use super::{Shared, api_path, unnamed};
use crate::greeting::Greeting;
use crate::saved::Body;
use crate::usage;
use crate::{
    Channel, Ending, Limits, Machine, MachineError, MachineSpec, MachineStats, Result, Template,
};
use serde_json::json;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use ukernel_abi::layout::{
    CHANNEL_PORT, CMDLINE_TSC_KHZ, GUEST_CID, MAX_MEMORY_MIB, MIN_MEMORY_MIB,
};
use ukernel_vmm::wait;

/// How long Firecracker may take for what it does at once. Generous: hosts are shared.
pub(super) const ANSWER: Duration = Duration::from_secs(20);
/// How long it may take to read or write a guest's memory.
pub(super) const COPY: Duration = Duration::from_secs(120);
/// How long a guest may take to listen: a cold boot on a loaded host.
const LISTEN: Duration = Duration::from_secs(60);
/// How often a guest that does not listen yet is asked again.
const AGAIN: Duration = Duration::from_millis(2);
/// Longest line Firecracker answers a connection with.
const MAX_LINE_BYTES: usize = 32;

/// A machine of Firecracker.
#[derive(Debug)]
pub(super) struct FirecrackerMachine {
    process: Process,
    greeting: Greeting,
    /// Of a fork.
    changes: Option<Changes>,
    shared: Arc<Shared>,
}

impl FirecrackerMachine {
    pub(super) fn boot(shared: &Arc<Shared>, spec: &MachineSpec) -> Result<Self> {
        if !(MIN_MEMORY_MIB..=MAX_MEMORY_MIB).contains(&spec.memory_mib) {
            return Err(MachineError::Firecracker {
                cause: format!(
                    "{} MiB of memory: give {MIN_MEMORY_MIB} to {MAX_MEMORY_MIB}",
                    spec.memory_mib
                ),
            });
        }
        let mut process = shared.process()?;
        let mut put = |path: &str, body| process.request("PUT", path, &body, ANSWER);
        put(
            "/machine-config",
            json!({ "vcpu_count": 1, "mem_size_mib": spec.memory_mib }),
        )?;
        put(
            "/boot-source",
            json!({
                "kernel_image_path": api_path(&spec.kernel)?,
                "initrd_path": api_path(&spec.image)?,
                "boot_args": format!("{CMDLINE_TSC_KHZ}{}", shared.tsc_khz()?),
            }),
        )?;
        put(
            "/vsock",
            json!({ "guest_cid": GUEST_CID, "uds_path": VSOCK_SOCKET }),
        )?;
        put("/actions", json!({ "action_type": "InstanceStart" }))?;
        Ok(Self {
            process,
            greeting: Greeting::new(spec.limits)?,
            changes: None,
            shared: Arc::clone(shared),
        })
    }

    /// Starts a machine from Firecracker's files of one, whose memory is the template's but for
    /// `changes`.
    pub(super) fn load(
        shared: &Arc<Shared>,
        state: &Path,
        memory: &Path,
        changes: Changes,
        limits: Limits,
    ) -> Result<Self> {
        let mut process = shared.process()?;
        let body = json!({
            "snapshot_path": api_path(state)?,
            "mem_backend": { "backend_type": "File", "backend_path": api_path(memory)? },
            // Else a snapshot would be all of the memory.
            "track_dirty_pages": true,
            "resume_vm": true,
            "vsock_override": { "uds_path": VSOCK_SOCKET },
        });
        process.request("PUT", "/snapshot/load", &body, COPY)?;
        Ok(Self {
            process,
            greeting: Greeting::new(limits)?,
            changes: Some(changes),
            shared: Arc::clone(shared),
        })
    }

    /// Has Firecracker write what it keeps of the paused machine.
    fn create_snapshot(&mut self, kind: &str, state: &Path, memory: &Path) -> Result<()> {
        let body = json!({
            "snapshot_type": kind,
            "snapshot_path": api_path(state)?,
            "mem_file_path": api_path(memory)?,
        });
        self.process.request("PUT", "/snapshot/create", &body, COPY)
    }

    fn set_state(&mut self, state: &str) -> Result<()> {
        self.process
            .request("PATCH", "/vm", &json!({ "state": state }), ANSWER)
    }

    /// Stops the guest for as long as it takes to gather what it changed. Returns its state.
    fn take_changes(&mut self, changes: &mut Changes) -> Result<File> {
        let state = unnamed::in_memory()
            .map_err(|error| MachineError::io("making a file for a state", error))?;
        self.set_state("Paused")?;
        let taken = changes.expect(&self.shared.run_dir).and_then(|news| {
            self.create_snapshot("Diff", &unnamed::path(&state), &unnamed::path(&news))?;
            Ok(news)
        });
        let resumed = self.set_state("Resumed");
        changes.gather(&taken?, &self.shared.run_dir)?;
        resumed.map(|()| state)
    }

    /// Asks Firecracker for a connection. `None`: the guest does not listen yet.
    fn dial(&mut self, deadline: Instant) -> Result<Option<UnixStream>> {
        let failed = |error| MachineError::io("connecting to the guest", error);
        let mut stream = match UnixStream::connect(self.process.path(VSOCK_SOCKET)) {
            Ok(stream) => stream,
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        // One write: Firecracker drops a connection whose line comes in pieces.
        match stream.write_all(format!("CONNECT {CHANNEL_PORT}\n").as_bytes()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(None),
            other => other.map_err(failed)?,
        }
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            if line.len() == MAX_LINE_BYTES {
                return Err(MachineError::Firecracker {
                    cause: "its vsock socket answers nonsense".to_owned(),
                });
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(MachineError::TimedOut(LISTEN));
            }
            stream.set_read_timeout(Some(left)).map_err(failed)?;
            // Byte by byte: what follows the line belongs to the guest.
            let mut byte = [0];
            match stream.read(&mut byte) {
                Ok(0) => return Ok(None),
                Ok(_) => line.push(byte[0]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(failed(error)),
            }
        }
        if !line.starts_with(b"OK ") {
            return Ok(None);
        }
        stream.set_read_timeout(None).map_err(failed)?;
        Ok(Some(stream))
    }
}

impl Machine for FirecrackerMachine {
    /// Waits until the guest listens.
    fn connect(&mut self) -> Result<Channel> {
        let deadline = Instant::now() + LISTEN;
        let connected = wait::until(deadline, AGAIN, || {
            let dialled = self.dial(deadline);
            if let Some(ending) = self.process.wait_ending(Duration::ZERO)? {
                return Err(ended(&ending));
            }
            dialled
        })?;
        let stream = connected.ok_or(MachineError::TimedOut(LISTEN))?;
        Ok(Channel::new(stream, self.greeting))
    }

    fn pause(&mut self) -> Result<()> {
        self.set_state("Paused")
    }

    fn resume(&mut self) -> Result<()> {
        self.set_state("Resumed")
    }

    /// Firecracker resets the connections of a guest when it takes a snapshot.
    fn keeps_channel(&self) -> bool {
        false
    }

    fn snapshot(&mut self, body: &mut Body) -> Result<()> {
        let mut changes = self.changes.take().ok_or(MachineError::NOT_FORKED)?;
        let taken = self.take_changes(&mut changes);
        let changes = self.changes.insert(changes);
        let mut state = taken?;
        changes.write(&mut body.pages)?;
        std::io::copy(&mut state, &mut body.state)
            .and_then(|_| body.cut())
            .map_err(|error| MachineError::io("writing a state", error))
    }

    fn into_template(mut self: Box<Self>) -> Result<Box<dyn Template>> {
        let snapshot = Snapshot::in_new_folder(&self.shared.run_dir)?;
        self.set_state("Paused")?;
        self.create_snapshot("Full", &snapshot.state, &snapshot.memory)?;
        self.process.kill()?;
        Ok(Box::new(FirecrackerTemplate::new(snapshot, self.shared)?))
    }

    fn stats(&mut self) -> Result<MachineStats> {
        if let Some(ending) = self.process.wait_ending(Duration::ZERO)? {
            return Err(ended(&ending));
        }
        usage::stats(self.process.id())
    }

    fn process_id(&self) -> u32 {
        self.process.id()
    }

    fn wait_ending(&mut self, timeout: Duration) -> Result<Option<Ending>> {
        self.process.wait_ending(timeout)
    }

    fn kill(&mut self) -> Result<Ending> {
        self.process.kill()
    }
}
