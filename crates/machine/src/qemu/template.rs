//! A template: RAM in a sealed memfd, which all forks map, and the state of the devices.

use super::machine::QemuMachine;
use super::process::Guest;
use super::{Shared, failure};
use crate::saved::Body;
use crate::{Limits, Machine, MachineError, Result, Template, file};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use ukernel_vmm::sparse;

/// Guest memory, sparse.
const MEMORY_FILE: &str = "qemu-memory";
/// The state of the devices, in QEMU's format.
const STATE_FILE: &str = "qemu-state";
/// What a saved folder is.
const LABEL_FILE: &str = "qemu.json";
/// Largest state or label, in bytes.
const MAX_BYTES: usize = 16 << 20;

#[derive(Debug, Serialize, Deserialize)]
struct Label {
    memory_mib: u32,
    /// Whether it has its image on a disk.
    is_linux: bool,
}

#[derive(Debug)]
pub(super) struct QemuTemplate {
    pub(super) ram: Arc<File>,
    devices: Vec<u8>,
    pub(super) guest: Guest,
    pub(super) memory_mib: u32,
    pub(super) shared: Arc<Shared>,
}

impl QemuTemplate {
    /// A template of memory that nobody has mapped any more. No process can change it from now on, a QEMU that its
    /// guest has taken over neither.
    pub(super) fn new(
        ram: Arc<File>,
        devices: Vec<u8>,
        guest: Guest,
        memory_mib: u32,
        shared: Arc<Shared>,
    ) -> Result<Self> {
        let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
        fcntl_add_seals(&ram, seals)
            .map_err(|error| MachineError::io("sealing the memory of a template", error))?;
        Ok(Self {
            ram,
            devices,
            guest,
            memory_mib,
            shared,
        })
    }

    pub(super) fn open(folder: &Path, image: &Path, shared: Arc<Shared>) -> Result<Self> {
        let failed =
            |error| MachineError::io(format!("the template in {}", folder.display()), error);
        let label = file::read(&folder.join(LABEL_FILE), MAX_BYTES).map_err(failed)?;
        let label: Label = serde_json::from_slice(&label).map_err(|error| failed(error.into()))?;
        let devices = file::read(&folder.join(STATE_FILE), MAX_BYTES).map_err(failed)?;
        let stored = file::open(&folder.join(MEMORY_FILE)).map_err(failed)?;
        if stored.metadata().map_err(failed)?.len() != u64::from(label.memory_mib) << 20 {
            return Err(failure(format!(
                "the template in {} is cut short",
                folder.display()
            )));
        }
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let ram = memfd_create("ukernel-memory", flags).map_err(|error| failed(error.into()))?;
        let ram = File::from(ram);
        sparse::copy(&stored, &ram).map_err(failed)?;
        let guest = match label.is_linux {
            true => Guest::Linux {
                disk: Arc::new(file::open(image).map_err(failed)?),
            },
            false => Guest::Ukernel,
        };
        Self::new(Arc::new(ram), devices, guest, label.memory_mib, shared)
    }
}

impl Template for QemuTemplate {
    fn fork(&self, limits: Limits) -> Result<Box<dyn Machine>> {
        Ok(Box::new(QemuMachine::load(
            self,
            &self.devices,
            None,
            limits,
        )?))
    }

    fn restore(&self, mut body: Body, limits: Limits) -> Result<Box<dyn Machine>> {
        let devices = body
            .read_state()
            .map_err(|error| MachineError::io("reading a state", error))?;
        let machine = QemuMachine::load(self, &devices, Some(&mut body.pages), limits)?;
        Ok(Box::new(machine))
    }

    fn save(&self, folder: &Path) -> Result<()> {
        let failed =
            |error| MachineError::io(format!("writing a template to {}", folder.display()), error);
        let write = || -> std::io::Result<()> {
            sparse::copy(&self.ram, &File::create_new(folder.join(MEMORY_FILE))?)?;
            File::create_new(folder.join(STATE_FILE))?.write_all(&self.devices)?;
            let label = Label {
                memory_mib: self.memory_mib,
                is_linux: matches!(self.guest, Guest::Linux { .. }),
            };
            std::fs::write(folder.join(LABEL_FILE), serde_json::to_vec(&label)?)
        };
        write().map_err(failed)
    }
}
