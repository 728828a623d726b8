//! Firecracker as a backend: for hosts whose operator installed it.
//!
//! Each machine is one Firecracker process, told what to do over its API socket, in a
//! temporary folder of its own that only this user may enter.
//!
//! What confines a guest here: KVM, then Firecracker's own seccomp filters, which its
//! release builds have and which are left on. The process gets no environment, no core
//! dumps, no network device and no disk. It keeps the user, the name spaces and the control
//! group of this process: Firecracker's jailer, which needs root, is not used. The embedded
//! VMM confines its processes further.
//!
//! Snapshots of forks are differences from their template. Firecracker finds what a guest has
//! written by KVM's log of it, which costs a fork 2 to 3 ms; without, it would write all of the
//! memory. It wants a file with all of a guest's memory to start from, so that a restored machine
//! costs a copy of the template's, unless the file system shares what copies have in common.
//! Hosts where processes may not open each other's files through `/proc` have no snapshots.
//!
//! Needs Firecracker 1.16 or later, which lets a restored machine have a vsock socket of its
//! own.

mod api;
mod changes;
mod dig;
mod ending;
mod machine;
mod process;
mod template;
mod unnamed;

use crate::spares::Spares;
use crate::starter::Starter;
use crate::{Backend, BackendKind, Machine, MachineError, MachineSpec, Result, Template};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf, absolute};
use std::sync::{Arc, OnceLock};

use machine::FirecrackerMachine;
use process::Process;
use template::FirecrackerTemplate;

/// Runs machines with Firecracker, one process each.
#[derive(Debug)]
pub struct Firecracker {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    program: PathBuf,
    run_dir: PathBuf,
    starter: Starter,
    /// Processes that have been told nothing.
    spares: Spares<Process>,
    /// Frequency of the time-stamp counter guests see, in kHz.
    tsc_khz: OnceLock<u32>,
}

impl Shared {
    /// A process that takes requests and has been told nothing.
    fn process(&self) -> Result<Process> {
        let is_ready = |process: &mut Process| process.wait_ready();
        self.spares.take(|| Process::spawn(self), is_ready)
    }

    fn prepare(&self, enough: usize) -> bool {
        self.spares.add(enough, || Process::spawn(self))
    }

    fn tsc_khz(&self) -> Result<u32> {
        if let Some(khz) = self.tsc_khz.get() {
            return Ok(*khz);
        }
        let khz = ukernel_vmm::speed::tsc_khz()?;
        Ok(*self.tsc_khz.get_or_init(|| khz))
    }
}

impl Firecracker {
    /// A backend whose processes run `program` in folders they get under `run_dir`.
    /// A template needs room there for a guest's memory, and so does each machine restored from
    /// a snapshot.
    ///
    /// # Errors
    /// `/dev/kvm` does not open, or `run_dir` cannot be made.
    pub fn new(program: PathBuf, run_dir: PathBuf) -> Result<Self> {
        drop(ukernel_vmm::open_kvm()?);
        std::fs::create_dir_all(&run_dir)
            .map_err(|error| MachineError::io(format!("making {}", run_dir.display()), error))?;
        Ok(Self {
            shared: Arc::new(Shared {
                program: whole_path(&program)?,
                run_dir: whole_path(&run_dir)?,
                starter: Starter::new("firecracker")?,
                spares: Spares::default(),
                tsc_khz: OnceLock::new(),
            }),
        })
    }
}

impl Backend for Firecracker {
    fn kind(&self) -> BackendKind {
        BackendKind::Firecracker
    }

    /// The program's: another release of it cannot load them. And that of differences.
    fn state_format(&self) -> Vec<u8> {
        let program = std::fs::metadata(&self.shared.program).map(|file| {
            let (seconds, nanoseconds) = (file.mtime(), file.mtime_nsec());
            format!("{} {seconds} {nanoseconds} ", file.len())
        });
        [
            program.unwrap_or_default().into_bytes(),
            ukernel_vmm::state_format(),
        ]
        .concat()
    }

    fn prepare(&self) {
        self.shared.prepare(1);
    }

    fn boot(&self, spec: &MachineSpec) -> Result<Box<dyn Machine>> {
        Ok(Box::new(FirecrackerMachine::boot(&self.shared, spec)?))
    }

    /// `image` is not looked at: the memory of a machine has it inside.
    fn open_template(&self, folder: &Path, _image: &Path) -> Result<Box<dyn Template>> {
        let shared = Arc::clone(&self.shared);
        Ok(Box::new(FirecrackerTemplate::open(folder, shared)?))
    }
}

/// `path` for a process with another working directory.
fn whole_path(path: &Path) -> Result<PathBuf> {
    absolute(path).map_err(|error| MachineError::io(path.display().to_string(), error))
}

/// `path` as a string of the API, whose language is UTF-8.
fn api_path(path: &Path) -> Result<String> {
    match whole_path(path)?.into_os_string().into_string() {
        Ok(path) => Ok(path),
        Err(path) => Err(MachineError::Firecracker {
            cause: format!("it cannot be told of {}: not UTF-8", path.display()),
        }),
    }
}
