//! Templates of the embedded VMM: a sealed memfd while they live, three files in a folder.

use super::{KvmMachine, Shared, create, greeted_pair, open};
use crate::greeting::Greeting;
use crate::saved::Body;
use crate::{Limits, Machine, MachineError, Result, Template};
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
        let memory = open(&folder.join(MEMORY_FILE))?;
        let mut template = ukernel_vmm::Template::from_parts(
            memory,
            Some(open(image)?),
            read(folder, STATE_FILE)?,
        )?;
        let working_set = postcard::from_bytes(&read(folder, WORKING_SET_FILE)?).map_err(|_| {
            MachineError::io(
                format!("reading {WORKING_SET_FILE}"),
                std::io::ErrorKind::InvalidData,
            )
        })?;
        template.set_working_set(working_set);
        Ok(Self { template, shared })
    }

    fn start(&self, limits: Limits, snapshot: Option<(&File, &[u8])>) -> Result<KvmMachine> {
        let greeting = Greeting::new(limits)?;
        let (near, far) = greeted_pair(greeting)?;
        let mut process = self.shared.process()?;
        process.restore(ForkConfig {
            template: &self.template,
            snapshot,
            channel: Some(far),
            paused: false,
        })?;
        Ok(KvmMachine {
            process,
            image: None,
            channel: Some(near),
            greeting,
            shared: Arc::clone(&self.shared),
        })
    }
}

impl Template for KvmTemplate {
    fn fork(&self, limits: Limits) -> Result<Box<dyn Machine>> {
        Ok(Box::new(self.start(limits, None)?))
    }

    fn restore(&self, body: Body, limits: Limits) -> Result<Box<dyn Machine>> {
        let state = body
            .read_state()
            .map_err(|error| MachineError::io("reading a state", error))?;
        let snapshot = Some((&body.pages, state.as_slice()));
        Ok(Box::new(self.start(limits, snapshot)?))
    }

    fn prepare(&self, enough: usize) -> bool {
        self.shared.prepare(enough)
    }

    fn prepared(&self) -> usize {
        self.shared.spares.count()
    }

    fn train(&mut self, exercise: &mut dyn FnMut(&mut dyn Machine) -> Result<()>) -> Result<()> {
        let mut machine = self.start(Limits::NONE, None)?;
        exercise(&mut machine)?;
        let set = machine.process.working_set()?;
        self.template.set_working_set(set);
        Ok(())
    }

    fn save(&self, folder: &Path) -> Result<()> {
        let working_set = postcard::to_allocvec(self.template.working_set()).map_err(|error| {
            MachineError::io("encoding the working set", std::io::Error::other(error))
        })?;
        write(folder, WORKING_SET_FILE, &working_set)?;
        write(folder, STATE_FILE, self.template.state())?;
        self.template
            .save_memory(&create(&folder.join(MEMORY_FILE))?)?;
        Ok(())
    }
}

fn read(folder: &Path, name: &str) -> Result<Vec<u8>> {
    let path = folder.join(name);
    std::fs::read(&path)
        .map_err(|error| MachineError::io(format!("reading {}", path.display()), error))
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let path = folder.join(name);
    std::fs::write(&path, bytes)
        .map_err(|error| MachineError::io(format!("writing {}", path.display()), error))
}
