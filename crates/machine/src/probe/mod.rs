//! What this host can do, measured rather than assumed.
//!
//! `/dev/kvm` may be an interpreter of supervisor code, a program on `PATH` may not start, a
//! daemon may not answer. So each is tried, for a bounded time, and every answer that is no
//! comes with a reason and a hint. Nothing is cached and the environment is not read: what
//! it says comes in [`ProbeConfig`].

mod cgroups;
mod choice;
mod finding;
mod isolation;
mod kvm;
mod program;
mod programs;
mod resources;

pub use cgroups::Cgroups;
pub use choice::{choose, choose_quick};
pub use finding::Finding;
pub use isolation::{Landlock, Userfaultfd};
pub use kvm::{KvmDevice, ModeSpeed};
pub use programs::{Docker, Installed, LinuxTools};
pub use resources::{Disk, Limits, Resources};

use serde::Serialize;
use std::ffi::OsString;
use std::path::PathBuf;

/// What the probe is told.
#[derive(Clone, Debug)]
pub struct ProbeConfig {
    /// Where programs are looked for, as in `PATH`.
    pub path: OsString,
    /// The Firecracker to use instead of the one on `path` (`UKERNEL_FIRECRACKER`).
    pub firecracker: Option<PathBuf>,
    /// Folder the state is kept in; need not exist yet.
    pub state_dir: PathBuf,
}

impl ProbeConfig {
    /// Where Firecracker is, if it is installed. Says nothing about whether it starts.
    #[must_use]
    pub fn find_firecracker(&self) -> Option<PathBuf> {
        match &self.firecracker {
            Some(program) => Some(program.clone()),
            None => program::find(&self.path, "firecracker"),
        }
    }

    /// Where QEMU is, if it is installed.
    #[must_use]
    pub fn find_qemu(&self) -> Option<PathBuf> {
        programs::find_qemu(&self.path).ok().cloned()
    }
}

/// Runs the probe.
#[derive(Clone, Copy, Debug)]
pub struct Probe;

/// Everything found out about the host.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// `/dev/kvm`, and how fast guests run on it.
    pub kvm: Finding<KvmDevice>,
    /// Firecracker.
    pub firecracker: Finding<Installed>,
    /// QEMU for x86-64.
    pub qemu: Finding<Installed>,
    /// What the Linux guest's root is built with.
    pub linux_tools: Finding<LinuxTools>,
    /// Docker's client and engine.
    pub docker: Finding<Docker>,
    /// Control groups.
    pub cgroups: Finding<Cgroups>,
    /// Landlock.
    pub landlock: Finding<Landlock>,
    /// userfaultfd.
    pub userfaultfd: Finding<Userfaultfd>,
    /// Room where the state is kept.
    pub disk: Finding<Disk>,
    /// Processors, memory, limits.
    pub resources: Resources,
}

impl Probe {
    /// Looks at everything. Takes some 0.2 s, and up to 3 s more where a program hangs.
    #[must_use]
    pub fn run(config: &ProbeConfig) -> Report {
        let (firecracker, qemu, docker) = std::thread::scope(|scope| {
            let qemu = scope.spawn(|| programs::qemu(&config.path));
            let docker = scope.spawn(|| programs::docker(&config.path));
            let firecracker = programs::firecracker(config);
            // A probe that panicked found nothing out.
            let lost = "its probe failed";
            (
                firecracker,
                qemu.join()
                    .unwrap_or_else(|_| Finding::missing(lost, "report this")),
                docker
                    .join()
                    .unwrap_or_else(|_| Finding::missing(lost, "report this")),
            )
        });
        Report {
            // After the programs, which would slow the guests down.
            kvm: kvm::probe(),
            firecracker,
            qemu,
            linux_tools: programs::linux_tools(&config.path),
            docker,
            cgroups: cgroups::probe(),
            landlock: isolation::landlock(),
            userfaultfd: isolation::userfaultfd(),
            disk: resources::disk(&config.state_dir),
            resources: resources::resources(),
        }
    }
}
