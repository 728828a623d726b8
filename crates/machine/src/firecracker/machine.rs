//! A machine: booted or restored, paused, connected to, made a template.

use super::process::{Process, VSOCK_SOCKET, ended};
use super::template::{FirecrackerTemplate, Snapshot};
use super::{Shared, api_path, memory};
use crate::greeting::Greeting;
use crate::{
    Channel, Ending, Limits, Machine, MachineError, MachineSpec, MachineStats, Result, Template,
};
use serde_json::json;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use ukernel_abi::layout::{
    CHANNEL_PORT, CMDLINE_TSC_KHZ, GUEST_CID, MAX_MEMORY_MIB, MIN_MEMORY_MIB,
};

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

/// Forks are made from templates only, for now.
pub(super) const NO_SNAPSHOTS: MachineError =
    MachineError::Unsupported("the firecracker backend has no snapshots of forks: use kvm");

/// A machine of Firecracker.
#[derive(Debug)]
pub(super) struct FirecrackerMachine {
    process: Process,
    greeting: Greeting,
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
            shared: Arc::clone(shared),
        })
    }

    pub(super) fn restore(
        shared: &Arc<Shared>,
        snapshot: &Snapshot,
        limits: Limits,
    ) -> Result<Self> {
        let mut process = shared.process()?;
        let body = json!({
            "snapshot_path": api_path(&snapshot.state)?,
            "mem_backend": { "backend_type": "File", "backend_path": api_path(&snapshot.memory)? },
            "resume_vm": true,
            "vsock_override": { "uds_path": VSOCK_SOCKET },
        });
        process.request("PUT", "/snapshot/load", &body, COPY)?;
        Ok(Self {
            process,
            greeting: Greeting::new(limits)?,
            shared: Arc::clone(shared),
        })
    }

    fn set_state(&mut self, state: &str) -> Result<()> {
        self.process
            .request("PATCH", "/vm", &json!({ "state": state }), ANSWER)
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
        loop {
            let dialled = self.dial(deadline);
            if let Some(ending) = self.process.wait_ending(Duration::ZERO)? {
                return Err(ended(&ending));
            }
            if let Some(stream) = dialled? {
                return Channel::new(stream, self.greeting);
            }
            if let Some(ending) = self.process.wait_ending(AGAIN)? {
                return Err(ended(&ending));
            }
            if Instant::now() >= deadline {
                return Err(MachineError::TimedOut(LISTEN));
            }
        }
    }

    fn pause(&mut self) -> Result<()> {
        self.set_state("Paused")
    }

    fn resume(&mut self) -> Result<()> {
        self.set_state("Resumed")
    }

    fn snapshot(&mut self, _folder: &Path) -> Result<()> {
        Err(NO_SNAPSHOTS)
    }

    fn into_template(mut self: Box<Self>) -> Result<Box<dyn Template>> {
        let snapshot = Snapshot::in_new_folder(&self.shared.run_dir)?;
        self.set_state("Paused")?;
        let body = json!({
            "snapshot_type": "Full",
            "snapshot_path": api_path(&snapshot.state)?,
            "mem_file_path": api_path(&snapshot.memory)?,
        });
        self.process
            .request("PUT", "/snapshot/create", &body, COPY)?;
        self.process.kill()?;
        Ok(Box::new(FirecrackerTemplate::new(snapshot, self.shared)?))
    }

    fn stats(&mut self) -> Result<MachineStats> {
        if let Some(ending) = self.process.wait_ending(Duration::ZERO)? {
            return Err(ended(&ending));
        }
        memory::stats(self.process.id())
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
