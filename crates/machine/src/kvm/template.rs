//! Templates of the embedded VMM: a sealed memfd while they live, three files in a folder.

use super::{KvmMachine, Shared, greeted_pair, open};
use crate::{Machine, MachineError, Result, Template};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use ukernel_vmm::{ForkConfig, VmProcess};

/// Guest memory, sparse.
const MEMORY_FILE: &str = "memory";
/// Registers and devices.
const STATE_FILE: &str = "state";
/// Pages a fork needs first.
const WORKING_SET_FILE: &str = "working-set";

#[derive(Debug)]
pub(super) struct KvmTemplate {
    template: ukernel_vmm::Template,
    shared: Arc<Shared>,
}

impl KvmTemplate {
    pub(super) fn from_process(
        process: VmProcess,
        image: Option<File>,
        shared: Arc<Shared>,
    ) -> Result<Self> {
        Ok(Self {
            template: ukernel_vmm::Template::from_vm(process, image)?,
            shared,
        })
    }

    pub(super) fn open(folder: &Path, image: &Path, shared: Arc<Shared>) -> Result<Self> {
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read(&path)
                .map_err(|error| MachineError::io(format!("reading {}", path.display()), error))
        };
        let memory = open(&folder.join(MEMORY_FILE))?;
        let mut template =
            ukernel_vmm::Template::from_parts(memory, Some(open(image)?), read(STATE_FILE)?)?;
        let working_set = postcard::from_bytes(&read(WORKING_SET_FILE)?).map_err(|_| {
            MachineError::io(
                format!("reading {WORKING_SET_FILE}"),
                std::io::ErrorKind::InvalidData,
            )
        })?;
        template.set_working_set(working_set);
        Ok(Self { template, shared })
    }

    fn start(&self) -> Result<KvmMachine> {
        let (near, far) = greeted_pair()?;
        let mut process = self.shared.process()?;
        process.restore(ForkConfig {
            template: &self.template,
            snapshot: None,
            channel: Some(far),
            paused: false,
        })?;
        Ok(KvmMachine {
            process,
            image: None,
            channel: Some(near),
            shared: Arc::clone(&self.shared),
        })
    }
}

impl Template for KvmTemplate {
    fn fork(&self) -> Result<Box<dyn Machine>> {
        Ok(Box::new(self.start()?))
    }

    fn train(&mut self, exercise: &mut dyn FnMut(&mut dyn Machine) -> Result<()>) -> Result<()> {
        let mut machine = self.start()?;
        exercise(&mut machine)?;
        let set = machine.process.working_set()?;
        self.template.set_working_set(set);
        Ok(())
    }

    fn save(&self, folder: &Path) -> Result<()> {
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.join(name);
            std::fs::write(&path, bytes)
                .map_err(|error| MachineError::io(format!("writing {}", path.display()), error))
        };
        let working_set = postcard::to_allocvec(self.template.working_set()).map_err(|error| {
            MachineError::io("encoding the working set", std::io::Error::other(error))
        })?;
        write(WORKING_SET_FILE, &working_set)?;
        write(STATE_FILE, self.template.state())?;
        let path = folder.join(MEMORY_FILE);
        let memory = File::create_new(&path)
            .map_err(|error| MachineError::io(format!("creating {}", path.display()), error))?;
        self.template.save_memory(&memory)?;
        Ok(())
    }
}
