//! The engine as commands use it: told about this environment, with progress on standard error.

use crate::failure::Failure;
use crate::home;
use crate::progress::Steps;
use std::path::PathBuf;
use ukernel_machine::{Backend, BackendKind, Limits, Machine, MachineSpec, Template};
use ukernel_sandbox::backends::BackendType;
use ukernel_sandbox::engine::{Engine as Machines, EngineOptions, StoredTemplate};
use ukernel_vmm::LauncherOptions;

/// Everything a command needs to run VMs.
pub struct Engine {
    machines: Machines,
    home: PathBuf,
}

impl Engine {
    /// Opens the store and the backend: the one asked for, or the best one here.
    pub fn open(explicit: Option<BackendKind>) -> Result<Self, Failure> {
        let preference = match explicit {
            Some(kind) => vec![BackendType::from(kind)],
            None => BackendType::DEFAULT_ORDER.to_vec(),
        };
        Self::prefer(preference)
    }

    /// Opens the store and the first of these backends that is there.
    pub fn prefer(preference: Vec<BackendType>) -> Result<Self, Failure> {
        let options = options(preference)?;
        let machines = Machines::open(&options)?;
        let home = options.home;
        Ok(Self { machines, home })
    }

    /// The backend in use.
    pub fn backend(&self) -> &dyn Backend {
        self.machines.backend()
    }

    /// Its name.
    pub fn backend_name(&self) -> &'static str {
        self.backend().kind().name()
    }

    /// Kernel and image, built if they are not there, for a machine of this size.
    pub fn spec(&self, memory_mib: u32) -> Result<MachineSpec, Failure> {
        Ok(self.machines.spec(memory_mib, &Steps::new())?)
    }

    /// The stored template of this size, made first if it is not there.
    pub fn template(&self, memory_mib: u32) -> Result<StoredTemplate, Failure> {
        Ok(self.machines.template(memory_mib, &Steps::new())?)
    }

    /// A machine with its runtime up.
    pub fn start(&self, memory_mib: u32) -> Result<Box<dyn Machine>, Failure> {
        Ok(self.template(memory_mib)?.template.fork(Limits::NONE)?)
    }

    /// A template made now, in memory.
    pub fn live_template(&self, memory_mib: u32) -> Result<Box<dyn Template>, Failure> {
        Ok(self.machines.live_template(memory_mib, &Steps::new())?)
    }

    /// A folder for a measurement, beside what is measured.
    pub fn scratch_folder(&self) -> std::io::Result<tempfile::TempDir> {
        std::fs::create_dir_all(&self.home)?;
        tempfile::Builder::new()
            .prefix("bench-")
            .tempdir_in(&self.home)
    }

    /// Writes a small file for a measurement.
    pub fn scratch(&self, name: &str, content: &str) -> Result<PathBuf, Failure> {
        let folder = self.home.join("bench");
        let path = folder.join(name);
        std::fs::create_dir_all(&folder)
            .and_then(|()| std::fs::write(&path, content))
            .map_err(|error| {
                Failure::host(format!("{}: {error}", path.display()), "free some space")
            })?;
        Ok(path)
    }
}

/// What an engine is told about this environment.
pub fn options(preference: Vec<BackendType>) -> Result<EngineOptions, Failure> {
    Ok(EngineOptions {
        home: home::home()?,
        source: home::source(),
        probe: home::probe_config()?,
        vm_process: vm_processes()?,
        preference,
    })
}

/// How this program becomes a VM process.
pub fn vm_processes() -> Result<LauncherOptions, Failure> {
    let this = std::env::current_exe()
        .map_err(|error| Failure::host(error, "this program's own file cannot be found"))?;
    Ok(LauncherOptions::new(this, [crate::VM_ARGUMENT.into()]))
}
