//! A template: Firecracker's snapshot of a machine, two files every fork maps.

use super::changes::Changes;
use super::dig::dig;
use super::machine::FirecrackerMachine;
use super::{Shared, unnamed};
use crate::saved::Body;
use crate::{Limits, Machine, MachineError, Result, Template};
use serde::{Deserialize, Serialize};
use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;
use ukernel_vmm::sparse;

/// Guest memory, sparse. Firecracker maps it `MAP_PRIVATE` and never writes to it.
const MEMORY_FILE: &str = "firecracker-memory";
/// Registers and devices, in Firecracker's format.
const STATE_FILE: &str = "firecracker-state";
/// What a saved folder is.
const LABEL_FILE: &str = "firecracker.json";

/// Release of the layout of a saved folder, and of the µkernel inside it.
const RELEASE: &str = env!("CARGO_PKG_VERSION");

#[derive(Debug, Serialize, Deserialize)]
struct Label {
    release: String,
    memory_bytes: u64,
}

/// Where a snapshot's files are.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) state: PathBuf,
    pub(super) memory: PathBuf,
    /// The folder, if it goes with the snapshot.
    _folder: Option<TempDir>,
}

impl Snapshot {
    /// Names for a snapshot still to be taken, in a folder of its own under `run_dir`.
    pub(super) fn in_new_folder(run_dir: &Path) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("fc-template-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(run_dir)
            .map_err(|error| MachineError::io(format!("in {}", run_dir.display()), error))?;
        Ok(Self {
            state: folder.path().join(STATE_FILE),
            memory: folder.path().join(MEMORY_FILE),
            _folder: Some(folder),
        })
    }
}

#[derive(Debug)]
pub(super) struct FirecrackerTemplate {
    snapshot: Snapshot,
    /// The file of guest memory, open.
    memory: Arc<File>,
    shared: Arc<Shared>,
}

impl FirecrackerTemplate {
    /// A template from a snapshot just taken.
    pub(super) fn new(snapshot: Snapshot, shared: Arc<Shared>) -> Result<Self> {
        let path = &snapshot.memory;
        File::options()
            .read(true)
            .write(true)
            .open(path)
            .and_then(|memory| dig(&memory))
            .map_err(|error| MachineError::io(path.display().to_string(), error))?;
        Self::of(snapshot, shared)
    }

    fn of(snapshot: Snapshot, shared: Arc<Shared>) -> Result<Self> {
        let path = &snapshot.memory;
        let memory = File::open(path)
            .map_err(|error| MachineError::io(path.display().to_string(), error))?;
        Ok(Self {
            memory: Arc::new(memory),
            snapshot,
            shared,
        })
    }

    pub(super) fn open(folder: &Path, shared: Arc<Shared>) -> Result<Self> {
        let label = folder.join(LABEL_FILE);
        let failed = |path: &Path, error| {
            MachineError::io(format!("{} of a template", path.display()), error)
        };
        let text = std::fs::read(&label).map_err(|error| failed(&label, error))?;
        let label: Label =
            serde_json::from_slice(&text).map_err(|error| failed(&label, error.into()))?;
        if label.release != RELEASE {
            return Err(MachineError::Firecracker {
                cause: format!(
                    "the template is of release {}, this is {RELEASE}: make it again",
                    label.release
                ),
            });
        }
        let snapshot = Snapshot {
            state: folder.join(STATE_FILE),
            memory: folder.join(MEMORY_FILE),
            _folder: None,
        };
        let length = |path: &Path| {
            std::fs::metadata(path)
                .map(|data| data.len())
                .map_err(|error| failed(path, error))
        };
        if length(&snapshot.memory)? != label.memory_bytes || length(&snapshot.state)? == 0 {
            return Err(MachineError::Firecracker {
                cause: format!("the template in {} is cut short", folder.display()),
            });
        }
        Self::of(snapshot, shared)
    }
}

impl Template for FirecrackerTemplate {
    fn fork(&self, limits: Limits) -> Result<Box<dyn Machine>> {
        let changes = Changes::none(Arc::clone(&self.memory));
        let Snapshot { state, memory, .. } = &self.snapshot;
        let machine = FirecrackerMachine::load(&self.shared, state, memory, changes, limits)?;
        Ok(Box::new(machine))
    }

    fn restore(&self, mut body: Body, limits: Limits) -> Result<Box<dyn Machine>> {
        let template = Arc::clone(&self.memory);
        let (changes, memory) = Changes::read(template, &mut body.pages, &self.shared.run_dir)?;
        // Firecracker opens what it is named: it gets the very file that is open here.
        let (state, path) = (unnamed::path(&body.state), unnamed::path(&memory));
        let machine = FirecrackerMachine::load(&self.shared, &state, &path, changes, limits)?;
        Ok(Box::new(machine))
    }

    fn prepare(&self, enough: usize) -> bool {
        self.shared.prepare(enough)
    }

    fn prepared(&self) -> usize {
        self.shared.spares.count()
    }

    fn save(&self, folder: &Path) -> Result<()> {
        let failed =
            |error| MachineError::io(format!("writing a template to {}", folder.display()), error);
        let write = || -> std::io::Result<()> {
            let memory = &self.memory;
            sparse::copy(memory, &File::create_new(folder.join(MEMORY_FILE))?)?;
            std::fs::copy(&self.snapshot.state, folder.join(STATE_FILE))?;
            // Last: a folder without it is no template.
            let label = Label {
                release: RELEASE.to_owned(),
                memory_bytes: memory.metadata()?.len(),
            };
            std::fs::write(folder.join(LABEL_FILE), serde_json::to_vec(&label)?)
        };
        write().map_err(failed)
    }
}
