//! The first process: brings the system up, starts the agent, reaps what is left to it.

use crate::commands;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::mount::{MountFlags, mount, mount_move};
use rustix::process::{Pid, WaitOptions, chdir, chroot, wait};
use rustix::system::{RebootCommand, init_module, reboot, sethostname};
use std::fs;
use std::io::{Error, Result};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// Where the initial file system has its modules, and the order they are loaded in.
const MODULES: &str = "/modules";
/// The read-only base, as a block device.
const BASE: &str = "/dev/vda";
/// Where the agent and its scripts are, in memory.
pub const HOME: &str = "/run/ukernel";
/// The agent in the final root.
pub const AGENT: &str = "/run/ukernel/agent";
/// What user code may not even look at.
pub const PRIVATE: &str = "/run/ukernel/private";
/// The overlay's upper part, in the final root.
pub const UPPER: &str = "/run/ukernel/private/upper";
/// Size the overlay starts with, in bytes; [`crate::overlay`] lets it grow.
pub const UPPER_BYTES: u64 = 100 << 20;

/// Does everything, then waits for the agent's end, which is the VM's.
pub fn run() -> Result<()> {
    let ended = start().and_then(reap);
    if let Err(error) = ended {
        say(&format!(
            "ukernel-agent: the system does not come up: {error}"
        ));
    }
    // Serial output leaves the machine as it is written; nothing is on disks.
    let _ = reboot(RebootCommand::Restart);
    Ok(())
}

/// The kernel's log goes to the serial line.
fn say(text: &str) {
    // As an error: less is not shown.
    let _ = fs::write("/dev/kmsg", format!("<3>{text}\n"));
}

fn start() -> Result<Pid> {
    for folder in ["/proc", "/sys", "/dev", "/base", "/upper", "/root"] {
        fs::create_dir_all(folder)?;
    }
    let dev = named("mounting /dev", plain("devtmpfs", "/dev"));
    named("mounting /proc", plain("proc", "/proc"))?;
    named("mounting /sys", plain("sysfs", "/sys"))?;
    dev?;
    load_modules()?;
    let read_only = MountFlags::RDONLY | MountFlags::NODEV;
    named(
        "mounting the base",
        mount(BASE, "/base", "squashfs", read_only, None),
    )?;
    let size = format!("size={UPPER_BYTES},mode=0755");
    let size = std::ffi::CString::new(size).map_err(Error::other)?;
    named(
        "mounting the overlay's upper part",
        mount(
            "upper",
            "/upper",
            "tmpfs",
            MountFlags::NODEV,
            size.as_c_str(),
        ),
    )?;
    for folder in ["/upper/files", "/upper/work"] {
        fs::create_dir(folder)?;
    }
    let layers = c"lowerdir=/base,upperdir=/upper/files,workdir=/upper/work";
    named(
        "mounting the overlay",
        mount("root", "/root", "overlay", MountFlags::empty(), layers),
    )?;
    furnish(Path::new("/root"))?;
    chdir("/root")?;
    mount_move(".", "/")?;
    chroot(".")?;
    chdir("/")?;
    let agent = Command::new(AGENT)
        .arg("agent")
        .env_clear()
        .current_dir("/")
        .spawn()?;
    let pid = i32::try_from(agent.id()).ok().and_then(Pid::from_raw);
    pid.ok_or_else(|| Error::other("the agent has no id"))
}

/// What the root needs that is not on disk.
fn furnish(root: &Path) -> Result<()> {
    for (kind, folder, data) in [
        ("proc", "proc", None),
        ("sysfs", "sys", None),
        ("devtmpfs", "dev", None),
        ("tmpfs", "run", Some(c"mode=0755,size=256m")),
        ("cgroup2", "sys/fs/cgroup", None),
    ] {
        let target = root.join(folder);
        let flags = MountFlags::NOSUID;
        let mounted = mount(kind, &target, kind, flags, data).map_err(Error::from);
        mounted.map_err(|error| Error::other(format!("mounting /{folder}: {error}")))?;
    }
    for (kind, folder, data) in [
        ("devpts", "dev/pts", Some(c"mode=0620,ptmxmode=0666")),
        ("tmpfs", "dev/shm", Some(c"mode=1777")),
    ] {
        let target = root.join(folder);
        fs::create_dir_all(&target)?;
        mount(kind, &target, kind, MountFlags::NOSUID, data)?;
    }
    for (link, target) in [
        ("dev/fd", "/proc/self/fd"),
        ("dev/stdin", "/proc/self/fd/0"),
        ("dev/stdout", "/proc/self/fd/1"),
        ("dev/stderr", "/proc/self/fd/2"),
    ] {
        let _ = std::os::unix::fs::symlink(target, root.join(link));
    }
    // A terminal each program may ask for, not the serial line: that is the host's.
    let _ = mknodat(
        CWD,
        root.join("dev/tty"),
        FileType::CharacterDevice,
        Mode::from(0o666),
        rustix::fs::makedev(5, 0),
    );
    let home = root.join(&HOME[1..]);
    fs::create_dir_all(&home)?;
    let private = root.join(&PRIVATE[1..]);
    fs::create_dir(&private)?;
    fs::set_permissions(&private, fs::Permissions::from_mode(0o700))?;
    let upper = root.join(&UPPER[1..]);
    fs::create_dir(&upper)?;
    mount_move("/upper", &upper)?;
    let agent = root.join(&AGENT[1..]);
    fs::copy("/init", &agent)?;
    fs::set_permissions(&agent, fs::Permissions::from_mode(0o755))?;
    for name in commands::NAMES {
        std::os::unix::fs::symlink(AGENT, root.join("usr/local/bin").join(name))?;
    }
    sethostname(b"ukernel")?;
    Ok(())
}

fn plain(kind: &str, target: &str) -> rustix::io::Result<()> {
    mount(kind, target, kind, MountFlags::empty(), None)
}

fn load_modules() -> Result<()> {
    let order = fs::read_to_string(format!("{MODULES}/order"))?;
    for name in order.lines() {
        let module = fs::read(format!("{MODULES}/{name}"))?;
        named(name, init_module(&module, c""))?;
    }
    Ok(())
}

fn named<T>(what: &str, result: rustix::io::Result<T>) -> Result<T> {
    result.map_err(|error| Error::other(format!("{what}: {error}")))
}

/// Waits for children and orphans until the agent has ended.
fn reap(agent: Pid) -> Result<()> {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == agent => {
                say(&format!("ukernel-agent: the agent has ended: {status:?}"));
                return Ok(());
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
