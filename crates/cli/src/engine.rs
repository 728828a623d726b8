//! What commands that run VMs share: the store, the backend, templates.

use crate::failure::Failure;
use crate::home;
use crate::post_mortem::post_mortem;
use crate::progress::Steps;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use ukernel_abi::message::Outcome;
use ukernel_image::store::Key;
use ukernel_image::{Images, Progress};
use ukernel_machine::firecracker::Firecracker;
use ukernel_machine::guest::{Guest, Program, Until};
use ukernel_machine::kvm::Kvm;
use ukernel_machine::probe::choose_quick;
use ukernel_machine::{Backend, BackendKind, Limits, Machine, MachineError, MachineSpec, Template};
use ukernel_vmm::LauncherOptions;

/// Run in a machine before it becomes a template, so that what every program needs has been
/// touched: the import system, output, a traceback.
const WARM_UP: &str = "import sys, traceback\n\
    try: raise ValueError\n\
    except ValueError: traceback.format_exc()\n\
    sys.stdout.write('')\n";

/// Everything a command needs to run VMs.
pub struct Engine {
    images: Images,
    backend: Box<dyn Backend>,
    /// What a template of this backend depends on, beside the host.
    backend_identity: String,
    home: PathBuf,
}

impl Engine {
    /// Opens the store and the backend: the one asked for, or the best one here.
    pub fn open(explicit: Option<BackendKind>) -> Result<Self, Failure> {
        let home = home::home()?;
        let (backend, backend_identity) = open_backend(&home, explicit)?;
        // A process takes a moment to start; it does so while the store is looked at.
        backend.prepare();
        Ok(Self {
            images: Images::new(home.clone(), home::source()),
            backend,
            backend_identity,
            home,
        })
    }

    /// The backend in use.
    pub fn backend(&self) -> &dyn Backend {
        self.backend.as_ref()
    }

    /// Its name.
    pub fn backend_name(&self) -> &'static str {
        self.backend.kind().name()
    }

    /// Kernel and Python image, built if they are not there, for a machine of this size.
    pub fn spec(&self, memory_mib: u32) -> Result<MachineSpec, Failure> {
        let steps = Steps::new();
        Ok(MachineSpec {
            kernel: self.images.kernel(&steps)?.path,
            image: self.images.python(&steps)?.path,
            memory_mib,
            limits: Limits::NONE,
        })
    }

    /// A machine with Python up: forked from the stored template, which is made first if it
    /// is not there.
    pub fn start(&self, memory_mib: u32) -> Result<Box<dyn Machine>, Failure> {
        let steps = Steps::new();
        let kernel = self.images.kernel(&steps)?;
        let image = self.images.python(&steps)?;
        let key = Key::of([
            kernel.key.bytes(),
            image.key.bytes(),
            &memory_mib.to_le_bytes(),
            host_identity().as_bytes(),
            self.backend_identity.as_bytes(),
            env!("CARGO_PKG_VERSION").as_bytes(),
        ]);
        let kind = format!("template-{}", self.backend_name());
        let folder = self
            .images
            .store()
            .get_or_build(&kind, key, &steps, |folder| {
                steps.step("starting Python once and keeping the VM as a template");
                let template = self.live_template(memory_mib)?;
                template.save(folder).map_err(Failure::from)
            })?;
        let template = self.backend.open_template(&folder, &image.path)?;
        Ok(template.fork(Limits::NONE)?)
    }

    /// A template made now, in memory.
    pub fn live_template(&self, memory_mib: u32) -> Result<Box<dyn Template>, Failure> {
        let mut machine = self.backend.boot(&self.spec(memory_mib)?)?;
        if let Err(error) = exercise(machine.as_mut(), WARM_UP) {
            return Err(post_mortem(machine.as_mut(), error));
        }
        let mut template = machine.into_template()?;
        template.train(&mut |machine| exercise(machine, "print(1)"))?;
        Ok(template)
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

fn exercise(machine: &mut dyn Machine, source: &str) -> Result<(), MachineError> {
    let mut guest = Guest::greet(machine.connect()?)?;
    let program = Program::new("<template>", source.as_bytes());
    match guest
        .exec(&program, Until::default(), &mut |_| Ok(()))?
        .outcome
    {
        Outcome::Exited { code: 0, .. } => Ok(()),
        other => Err(MachineError::Unexpected(format!("{other:?}"))),
    }
}

/// The backend, and what its templates depend on: another Firecracker cannot load them.
fn open_backend(
    home: &Path,
    explicit: Option<BackendKind>,
) -> Result<(Box<dyn Backend>, String), Failure> {
    let config = home::probe_config()?;
    let (kind, _) = choose_quick(&config, explicit)?;
    Ok(match kind {
        BackendKind::Kvm => (Box::new(Kvm::new(vm_processes()?)?), String::new()),
        BackendKind::Firecracker => {
            let program = config.find_firecracker().unwrap_or_default();
            let identity = std::fs::metadata(&program)
                .map(|file| format!("{} {} {}", file.len(), file.mtime(), file.mtime_nsec()))
                .unwrap_or_default();
            (
                Box::new(Firecracker::new(program, home.join("run"))?),
                identity,
            )
        }
    })
}

/// How this program becomes a VM process.
pub fn vm_processes() -> Result<LauncherOptions, Failure> {
    let this = std::env::current_exe()
        .map_err(|error| Failure::host(error, "this program's own file cannot be found"))?;
    Ok(LauncherOptions::new(this, [crate::VM_ARGUMENT.into()]))
}

/// What a template's processor state depends on, beside the backend.
fn host_identity() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let first: String = cpu
        .lines()
        .take_while(|line| !line.is_empty())
        .filter(|line| {
            ["model name", "flags", "stepping", "microcode"]
                .iter()
                .any(|name| line.starts_with(name))
        })
        .collect();
    first + &read("/proc/sys/kernel/osrelease")
}
