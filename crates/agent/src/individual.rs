//! Making this VM an individual: entropy, clock, identity, limits.

use crate::{entropy, launch, overlay};
use rustix::system::sethostname;
use rustix::time::{ClockId, Timespec, clock_settime};
use std::fs;
use std::io::{Error, Result};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use ukernel_abi::message::Limits;

/// Memory the system and the agent keep for themselves, in bytes. The interpreters' own files are in it (see
/// [`keep_interpreters`]).
const RESERVED_BYTES: u64 = 256 << 20;

/// More processes than this Linux has no numbers for.
const MOST_TASKS: u32 = 32_768;

/// Does all of it but for the interpreters.
pub fn become_one(seed: [u8; 32], wall_clock_ns: u64, instance: [u8; 16]) -> Result<()> {
    entropy::add(seed)?;
    let time = Timespec {
        tv_sec: i64::try_from(wall_clock_ns / 1_000_000_000).unwrap_or(0),
        // Below a thousand million.
        tv_nsec: (wall_clock_ns % 1_000_000_000).cast_signed(),
    };
    clock_settime(ClockId::Realtime, time)?;
    let id: String = instance.iter().map(|byte| format!("{byte:02x}")).collect();
    sethostname(format!("ukernel-{}", &id[..8]).as_bytes())?;
    fs::write("/etc/machine-id", format!("{id}\n"))
}

/// Limits user code to what the host says and the VM has.
pub fn limit(limits: &Limits) -> Result<()> {
    let total = total_memory()?;
    // Files are in memory, too.
    let memory = limits
        .memory_bytes
        .saturating_add(limits.max_files_bytes)
        .min(total.saturating_sub(RESERVED_BYTES));
    let set = |name: &str, value: String| {
        let written = fs::write(format!("{}/{name}", launch::GROUP), &value);
        written.map_err(|error| Error::other(format!("setting {name} to {value}: {error}")))
    };
    set("memory.max", memory.to_string())?;
    set("pids.max", limits.tasks.min(MOST_TASKS).to_string())?;
    overlay::set_limit(limits.max_files_bytes);
    Ok(())
}

/// Makes the control group, once.
pub fn make_group() -> Result<()> {
    fs::write(
        "/sys/fs/cgroup/cgroup.subtree_control",
        "+memory +pids +cpu",
    )?;
    fs::create_dir_all(launch::GROUP)
}

/// Brings the files of the interpreters into memory that is charged to the system. Charged to user code, a program at
/// its memory limit would have them thrown out and read again, over and over, and not end for minutes.
pub fn keep_interpreters() {
    for (program, code) in [
        ("/bin/bash", "printf ''"),
        (
            "/usr/bin/python3",
            "import ast, ctypes, json, random, socket, traceback",
        ),
    ] {
        // One that does not start says so when it is needed.
        let _ = Command::new(program)
            .args(["-c", code])
            .uid(launch::USER)
            .gid(launch::USER)
            .stdin(Stdio::null())
            .status();
    }
}

fn total_memory() -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kilobytes =
        line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kilobytes
        .map(|kilobytes| kilobytes << 10)
        .ok_or_else(|| Error::other("/proc/meminfo says no total"))
}
