//! Starts VM processes.

use crate::tail::Tail;
use crate::{Result, VmmError};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

/// User a VM process becomes when the host is root: "nobody".
pub const DEFAULT_USER: u32 = 65_534;

/// How to start VM processes.
#[derive(Clone, Debug)]
pub struct LauncherOptions {
    /// The program that calls [`vm_main`](crate::vm_main): usually the running one.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Directory of the control group VM processes join (v2, or a v1 controller's). Its
    /// limits are its owner's to set.
    pub cgroup: Option<PathBuf>,
    /// User (and group) they become when the host is root.
    pub user: u32,
}

impl LauncherOptions {
    /// Starts `program` with `args`, the rest as by default.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>, args: impl IntoIterator<Item = OsString>) -> Self {
        Self {
            program: program.into(),
            args: args.into_iter().collect(),
            cgroup: None,
            user: DEFAULT_USER,
        }
    }
}

/// Starts VM processes from a thread of its own.
///
/// A VM process dies with the *thread* that started it (`PR_SET_PDEATHSIG`), and pools of
/// threads let theirs come and go. So one thread starts all, and lives until the last
/// clone of the launcher and the last VM are dropped.
#[derive(Clone, Debug)]
pub struct Launcher {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    options: LauncherOptions,
    kvm: File,
    requests: Sender<Request>,
}

type Request = (OwnedFd, Sender<io::Result<(Child, Tail)>>);

impl Launcher {
    /// Opens `/dev/kvm` and starts the thread.
    ///
    /// # Errors
    /// [`VmmError::KvmMissing`], [`VmmError::KvmPermission`], [`VmmError::KvmUnusable`],
    /// [`VmmError::Os`].
    pub fn new(options: LauncherOptions) -> Result<Self> {
        let kvm = crate::kvm::open_kvm()?;
        let (requests, received) = channel::<Request>();
        let command = options.clone();
        std::thread::Builder::new()
            .name("ukernel-launcher".to_owned())
            .stack_size(128 << 10)
            .spawn(move || {
                for (control, answer) in received {
                    // A caller that is gone takes its child with it: Child is not killed
                    // on drop, but its control socket is closed, which ends it.
                    let _ = answer.send(start(&command, control));
                }
            })
            .map_err(|error| VmmError::os("starting the launcher's thread", error))?;
        Ok(Self {
            inner: Arc::new(Inner {
                options,
                kvm,
                requests,
            }),
        })
    }

    /// The options it was made with.
    #[must_use]
    pub fn options(&self) -> &LauncherOptions {
        &self.inner.options
    }

    pub(super) fn kvm(&self) -> BorrowedFd<'_> {
        self.inner.kvm.as_fd()
    }

    /// Starts a process; returns it, its standard error, and the host's end of its control socket.
    pub(super) fn start(&self) -> Result<(Child, Tail, OwnedFd)> {
        let (near, far) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .map_err(|error| VmmError::os("socketpair", error))?;
        let (answer, answered) = channel();
        let gone = || VmmError::os("asking the launcher's thread", io::ErrorKind::BrokenPipe);
        self.inner
            .requests
            .send((far, answer))
            .map_err(|_| gone())?;
        let (child, errors) = answered
            .recv()
            .map_err(|_| gone())?
            .map_err(|error| VmmError::os("starting a VM process", error))?;
        Ok((child, errors, near))
    }
}

fn start(options: &LauncherOptions, control: OwnedFd) -> io::Result<(Child, Tail)> {
    let (errors, writer) = Tail::new()?;
    let mut child = std::process::Command::new(&options.program)
        .args(&options.args)
        .env_clear()
        .stdin(Stdio::from(control))
        .stdout(Stdio::null())
        .stderr(writer)
        .spawn()?;
    if let Some(cgroup) = &options.cgroup
        && let Err(error) = join(cgroup, child.id())
    {
        let _ = child.kill();
        let _ = child.wait();
        return Err(error);
    }
    Ok((child, errors))
}

fn join(cgroup: &std::path::Path, process: u32) -> io::Result<()> {
    use std::io::Write;
    OpenOptions::new()
        .write(true)
        .open(cgroup.join("cgroup.procs"))?
        .write_all(process.to_string().as_bytes())
}
