//! One QEMU process, and the arguments that make it a machine.

use super::monitor::Monitor;
use super::{Accelerator, Shared, failure};
use crate::process::{Process as Supervised, exit_code};
use crate::{Ending, ExitReason, MachineError, Result};
use command_fds::{CommandFdExt, FdMapping};
use rustix::fs::{MemfdFlags, Mode, OFlags, memfd_create};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::time::{Duration, Instant};
use ukernel_abi::layout::PORT_EXIT;

/// How long QEMU may take for what it does at once. Generous: hosts are shared.
const ANSWER: Duration = Duration::from_secs(20);
/// How often a state that is being loaded is asked for.
const LOOK: Duration = Duration::from_millis(1);
/// User and group of processes that root starts.
const NOBODY: u32 = 65534;

/// Files of the process, by number.
const MEMORY_FD: i32 = 3;
const DISK_FD: i32 = 4;
const MONITOR_FD: i32 = 5;
const CHANNEL_FD: i32 = 6;
const KERNEL_FD: i32 = 7;
const INITRD_FD: i32 = 8;
const STATE_FD: i32 = 9;
const SAVED_FD: i32 = 10;

/// Largest state of devices that is taken from a process, in bytes. It has some 10 KiB.
const MAX_STATE_BYTES: u64 = 16 << 20;

/// What a machine is made from.
pub(super) struct Parts<'a> {
    pub(super) memory: &'a File,
    pub(super) memory_mib: u32,
    pub(super) guest: &'a Guest,
    pub(super) start: Start<'a>,
}

/// What runs inside, as far as its devices differ.
#[derive(Clone, Debug)]
pub(super) enum Guest {
    /// The µkernel, whose image is in its memory.
    Ukernel,
    /// A Linux with its root on this disk.
    Linux {
        /// Read only.
        disk: Arc<File>,
    },
}

/// Where it begins.
pub(super) enum Start<'a> {
    /// At the kernel's first instruction; what it writes is the file's.
    Boot {
        kernel: &'a File,
        initrd: &'a File,
        command_line: &'a str,
    },
    /// Where these devices stood; what it writes is its own.
    Load { state: &'a [u8] },
}

/// A running QEMU. Dropping it kills it.
#[derive(Debug)]
pub(super) struct Process {
    process: Supervised,
    monitor: Monitor,
    /// Where it writes the state of its devices.
    saved: File,
    /// The guest's channel listens there. Its name is gone already.
    socket: OwnedFd,
}

impl Process {
    /// Starts a process and waits until it answers. The guest does not run yet.
    pub(super) fn spawn(shared: &Shared, parts: &Parts<'_>) -> Result<Self> {
        let failed = |error| MachineError::io("setting up a QEMU process", error);
        let folder = tempfile::Builder::new()
            .prefix("ukernel-qemu-")
            .tempdir()
            .map_err(failed)?;
        let socket = folder.path().join("channel");
        let listener = UnixListener::bind(&socket).map_err(failed)?;
        let socket = rustix::fs::open(&socket, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .map_err(|error| failed(error.into()))?;
        folder.close().map_err(failed)?;
        let (ours, theirs) = UnixStream::pair().map_err(failed)?;
        let saved = in_memory("ukernel-devices", &[]).map_err(failed)?;
        let mut files = vec![
            (MEMORY_FD, parts.memory.try_clone().map_err(failed)?.into()),
            (MONITOR_FD, OwnedFd::from(theirs)),
            (CHANNEL_FD, listener.into()),
            (SAVED_FD, saved.try_clone().map_err(failed)?.into()),
        ];
        if let Guest::Linux { disk } = parts.guest {
            files.push((DISK_FD, disk.try_clone().map_err(failed)?.into()));
        }
        let mut command = Command::new(&shared.program);
        command.args(common(shared.accelerator, parts));
        match &parts.start {
            Start::Boot {
                kernel,
                initrd,
                command_line,
            } => {
                command
                    .args(["-kernel", &path(KERNEL_FD), "-initrd", &path(INITRD_FD)])
                    .args(["-append", command_line]);
                files.push((KERNEL_FD, kernel.try_clone().map_err(failed)?.into()));
                files.push((INITRD_FD, initrd.try_clone().map_err(failed)?.into()));
            }
            Start::Load { state } => {
                let state = in_memory("ukernel-devices", state).map_err(failed)?;
                command.args(["-incoming", "defer"]);
                files.push((STATE_FD, state.into()));
            }
        }
        let mappings = files.into_iter().map(|(child_fd, parent_fd)| FdMapping {
            parent_fd,
            child_fd,
        });
        command
            .fd_mappings(mappings.collect())
            .map_err(|error| failed(std::io::Error::other(error)))?;
        if rustix::process::geteuid().is_root() {
            command.uid(NOBODY).gid(group(shared.accelerator));
        }
        let process = Supervised::spawn(&shared.starter, command, describe)?;
        let mut process = Self {
            process,
            monitor: Monitor::new(ours),
            saved,
            socket,
        };
        let greeted = process.monitor.greet(ANSWER);
        process.explained(greeted)?;
        Ok(process)
    }

    /// Has a command carried out.
    pub(super) fn run(&mut self, command: &str, arguments: &Value) -> Result<Value> {
        let answer = self.monitor.run(command, arguments, ANSWER);
        self.explained(answer)
    }

    /// A process that is gone says why.
    fn explained<T>(&mut self, result: Result<T>) -> Result<T> {
        match result {
            Err(MachineError::Closed) => match self.process.wait_ending(ANSWER)? {
                Some(ending) => Err(failure(format!("the process has ended: {ending}"))),
                None => Err(MachineError::Closed),
            },
            other => other,
        }
    }

    /// The state of the paused machine's devices, without its RAM.
    pub(super) fn devices(&mut self) -> Result<Vec<u8>> {
        self.run(
            "xen-save-devices-state",
            &json!({ "filename": path(SAVED_FD) }),
        )?;
        let mut state = Vec::new();
        self.saved
            .rewind()
            .and_then(|()| (&self.saved).take(MAX_STATE_BYTES).read_to_end(&mut state))
            .map_err(|error| MachineError::io("reading the state of devices", error))?;
        Ok(state)
    }

    /// Loads the devices' state. RAM must be in its place: devices look at their queues there.
    pub(super) fn load_devices(&mut self) -> Result<()> {
        self.run(
            "migrate-incoming",
            &json!({ "uri": format!("fd:{STATE_FD}") }),
        )?;
        let deadline = Instant::now() + ANSWER;
        loop {
            let status = self.run("query-status", &json!({}))?;
            if status["status"] != "inmigrate" {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(MachineError::TimedOut(ANSWER));
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Connects to the channel.
    pub(super) fn connect(&self) -> Result<UnixStream> {
        UnixStream::connect(format!("/proc/self/fd/{}", self.socket.as_raw_fd()))
            .map_err(|error| MachineError::io("connecting to the guest", error))
    }

    pub(super) fn id(&self) -> u32 {
        self.process.id()
    }

    pub(super) fn wait_ending(&mut self, timeout: Duration) -> Result<Option<Ending>> {
        self.process.wait_ending(timeout)
    }

    pub(super) fn kill(&mut self) -> Result<Ending> {
        self.process.kill()
    }
}

/// The group of a process that root starts: one that may open `/dev/kvm`, if it needs it.
fn group(accelerator: Accelerator) -> u32 {
    let device = std::fs::metadata("/dev/kvm").ok();
    /// Reading and writing, for everybody.
    const EVERYBODY: u32 = 0o006;
    match (accelerator, device) {
        (Accelerator::Kvm, Some(device)) if device.mode() & EVERYBODY != EVERYBODY => device.gid(),
        _ => NOBODY,
    }
}

/// A file in memory, at its start.
pub(super) fn in_memory(name: &str, content: &[u8]) -> std::io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut file = File::from(memfd_create(name, flags)?);
    file.write_all(content)?;
    file.rewind()?;
    Ok(file)
}

/// How the process opens a file it has.
fn path(fd: i32) -> String {
    format!("/proc/self/fd/{fd}")
}

/// What booted and loaded machines have in common: the same devices in the same order.
fn common(accelerator: Accelerator, parts: &Parts<'_>) -> Vec<String> {
    let (accelerator, processor) = match accelerator {
        Accelerator::Kvm => ("kvm", "host,-arch-capabilities"),
        // Not more translated code than that: it is memory of each machine.
        Accelerator::Tcg => ("tcg,tb-size=64", "max"),
    };
    let share = match parts.start {
        Start::Boot { .. } => "on",
        Start::Load { .. } => "off",
    };
    let (mib, memory) = (parts.memory_mib, path(MEMORY_FD));
    let memory = format!("memory-backend-file,id=ram,size={mib}M,mem-path={memory},share={share}");
    let (board, devices) = match parts.guest {
        Guest::Ukernel => (
            // One I/O APIC, where the µkernel looks for its only device.
            ",acpi=off,ioapic2=off",
            vec![
                "-global".to_owned(),
                "virtio-mmio.force-legacy=false".to_owned(),
                "-device".to_owned(),
                "virtio-serial-device,max_ports=2".to_owned(),
                "-device".to_owned(),
                "virtserialport,chardev=channel,nr=1".to_owned(),
                // Its only way to end the machine: a Linux has the reset line.
                "-device".to_owned(),
                format!("isa-debug-exit,iobase={PORT_EXIT:#x},iosize=4"),
            ],
        ),
        Guest::Linux { .. } => (
            "",
            vec![
                "-drive".to_owned(),
                format!(
                    "if=none,id=root,file={},format=raw,readonly=on,file.locking=off",
                    path(DISK_FD)
                ),
                "-device".to_owned(),
                "virtio-blk-device,drive=root".to_owned(),
                "-device".to_owned(),
                "virtio-serial-device".to_owned(),
                "-device".to_owned(),
                "virtserialport,chardev=channel,name=ukernel".to_owned(),
            ],
        ),
    };
    let mut arguments = [
        "-M",
        &format!(
            "microvm,x-option-roms=off,rtc=off,pit=off,pic=off,isa-serial=on,memory-backend=ram{board}"
        ),
        "-nodefaults",
        "-no-user-config",
        "-no-reboot",
        "-display",
        "none",
        "-sandbox",
        "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
        // States have no description of the machine in front: both ends are this list.
        "-global",
        "migration.send-configuration=off",
        "-S",
        "-accel",
        accelerator,
        "-cpu",
        processor,
        "-smp",
        "1",
        "-m",
        &format!("{mib}M"),
        "-object",
        &memory,
        "-serial",
        "stdio",
        "-chardev",
        &format!("socket,id=channel,fd={CHANNEL_FD},server=on,wait=off"),
        "-chardev",
        &format!("socket,id=monitor,fd={MONITOR_FD}"),
        "-mon",
        "chardev=monitor,mode=control",
    ]
    .map(str::to_owned)
    .to_vec();
    arguments.extend(devices);
    arguments
}

fn describe(status: ExitStatus, serial: &[u8], log: &[u8]) -> Ending {
    let log = String::from_utf8_lossy(log);
    let last = log.lines().rev().find(|line| !line.trim().is_empty());
    let reason = match (status.code(), status.signal()) {
        // With -no-reboot a guest's reset is QEMU's orderly end; a µkernel says its reason, and leaves by a device.
        (Some(0), _) => ExitReason::Guest { code: u32::MAX },
        (Some(status), _)
            if exit_code(serial).is_some_and(|code| debug_exit(code) == Some(status)) =>
        {
            let code = exit_code(serial).unwrap_or(u32::MAX);
            ExitReason::Guest { code }
        }
        (Some(code), _) => ExitReason::Vmm {
            what: format!("status {code}: {}", last.unwrap_or("it logged nothing")),
        },
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

/// The status of a process whose guest wrote `code` to the device `isa-debug-exit`.
fn debug_exit(code: u32) -> Option<i32> {
    i32::try_from(code.checked_mul(2)? | 1).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ukernel_abi::layout::{GuestExit, SERIAL_EXIT};

    #[test]
    fn a_guests_end_is_told_from_a_failing_qemu() {
        let said = format!("{SERIAL_EXIT}{}\n", GuestExit::Panic as u32);
        let status = ExitStatus::from_raw(3 << 8);
        let code = GuestExit::Panic as u32;
        let reason = describe(status, said.as_bytes(), b"").reason;
        assert_eq!(reason, ExitReason::Guest { code });
        for (status, said) in [(1 << 8, said.as_str()), (3 << 8, "")] {
            let status = ExitStatus::from_raw(status);
            let reason = describe(status, said.as_bytes(), b"no accelerator\n").reason;
            assert!(matches!(reason, ExitReason::Vmm { .. }), "{reason}");
        }
    }
}
