//! QEMU as a backend: for Linux guests on every host, and for the µkernel where there is no KVM.
//!
//! ```text
//!   boot ──> machine ── stop, devices' state ──> template: a sealed memfd (RAM) and a state of some KiB
//!   fork:     RAM mapped privately from the memfd ── devices' state ──> machine
//!   snapshot: pages that QEMU's process has of its own, from outside ── and the devices' state
//! ```
//! A machine is one QEMU process of the `microvm` type: one virtio-serial port, the channel; a Linux's root as a disk,
//! read-only; no network. RAM never goes through QEMU's migration stream: its devices are saved without it (`xen-save-devices-state`,
//! which is not Xen's alone), and what a fork has written is found in the page tables of its process.
//!
//! What confines a guest here: the processor's emulation or KVM, and QEMU's seccomp filter (`-sandbox`), which lets it
//! start nothing. Started by root, its processes belong to `nobody`. They get no environment and no core dumps.

mod machine;
mod memory;
mod monitor;
mod process;
mod template;

use crate::probe::ModeSpeed;
use crate::starter::Starter;
use crate::{Backend, BackendKind, Machine, MachineError, MachineSpec, Result, Template};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use machine::QemuMachine;
use template::QemuTemplate;

/// Changes when the labels of templates do.
const LABELS: &[u8] = b"with guests ";

/// How the processor is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accelerator {
    /// By KVM, where supervisor code runs natively.
    Kvm,
    /// By QEMU's translator.
    Tcg,
}

/// Runs machines with QEMU, one process each.
#[derive(Debug)]
pub struct Qemu {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    program: PathBuf,
    accelerator: Accelerator,
    starter: Starter,
}

impl Qemu {
    /// A backend whose processes run `program`.
    ///
    /// # Errors
    /// [`MachineError::Io`] if no thread can be started.
    pub fn new(program: PathBuf, accelerator: Accelerator) -> Result<Self> {
        Ok(Self {
            shared: Arc::new(Shared {
                program,
                accelerator,
                starter: Starter::new(BackendKind::Qemu.name())?,
            }),
        })
    }
}

/// What this host's processor is best run with, measured.
#[must_use]
pub fn best_accelerator() -> Accelerator {
    // A Linux guest is in its kernel much of the time. Where KVM interprets that, translating is faster.
    match ukernel_vmm::speed::measure() {
        Ok(speed) if ModeSpeed::from(speed.supervisor_minstr_per_s).native => Accelerator::Kvm,
        _ => Accelerator::Tcg,
    }
}

impl Backend for Qemu {
    fn kind(&self) -> BackendKind {
        BackendKind::Qemu
    }

    /// The program's: another release of it need not load them. And that of differences.
    fn state_format(&self) -> Vec<u8> {
        let program = std::fs::metadata(&self.shared.program).map(|file| {
            let (seconds, nanoseconds) = (file.mtime(), file.mtime_nsec());
            let accelerator = self.shared.accelerator;
            format!("{} {seconds} {nanoseconds} {accelerator:?} ", file.len())
        });
        [
            LABELS.to_vec(),
            program.unwrap_or_default().into_bytes(),
            ukernel_vmm::state_format(),
        ]
        .concat()
    }

    fn boot(&self, spec: &MachineSpec) -> Result<Box<dyn Machine>> {
        Ok(Box::new(QemuMachine::boot(&self.shared, spec)?))
    }

    fn open_template(&self, folder: &Path, image: &Path) -> Result<Box<dyn Template>> {
        let shared = Arc::clone(&self.shared);
        Ok(Box::new(QemuTemplate::open(folder, image, shared)?))
    }
}

fn failure(cause: impl Into<String>) -> MachineError {
    MachineError::Qemu {
        cause: cause.into(),
    }
}
