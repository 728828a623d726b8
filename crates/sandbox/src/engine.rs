//! What everything that runs VMs shares: the store, the backend, templates.

use crate::backends::{BackendType, first_available};
use crate::{Result, SandboxError};
use std::path::{Path, PathBuf};
use std::time::Duration;
use ukernel_abi::message::{Exec, Mode, Outcome};
use ukernel_image::store::Key;
use ukernel_image::{ImageName, Images, Progress, adapter};
use ukernel_machine::firecracker::Firecracker;
use ukernel_machine::guest::follow::out_of_reach;
use ukernel_machine::guest::{BlockingGuest, Until};
use ukernel_machine::kvm::Kvm;
use ukernel_machine::probe::ProbeConfig;
use ukernel_machine::qemu::{Qemu, best_accelerator};
use ukernel_machine::{Backend, BackendKind, Limits, Machine, MachineError, MachineSpec, Template};
use ukernel_vmm::LauncherOptions;

/// How long to wait for a machine that hung up to say why.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What an engine is told about its surroundings.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Folder of everything that is kept.
    pub home: PathBuf,
    /// The project's sources, from which kernel and images are built.
    pub source: PathBuf,
    /// For looking at the host.
    pub probe: ProbeConfig,
    /// How the running program becomes a VM process.
    pub vm_process: LauncherOptions,
    /// Backends in order of preference.
    pub preference: Vec<BackendType>,
}

/// Makes machines and templates.
pub struct Engine {
    images: Images,
    backend: Box<dyn Backend>,
}

/// A template, and what names it.
pub struct StoredTemplate {
    /// The template.
    pub template: Box<dyn Template>,
    /// What runs its forks.
    pub backend: BackendKind,
    /// Digest of what it was made from. A snapshot fits the template it was made with.
    pub key: Key,
}

impl Engine {
    /// Opens the store and the first backend there is.
    ///
    /// # Errors
    /// [`SandboxError::NoBackend`], [`SandboxError::Machine`].
    pub fn open(options: &EngineOptions) -> Result<Self> {
        let kind = first_available(&options.preference, &options.probe)?;
        let backend = open_backend(kind, options)?;
        // A process takes a moment to start; it does so while the store is looked at.
        backend.prepare();
        Ok(Self {
            images: Images::new(options.home.clone(), options.source.clone()),
            backend,
        })
    }

    /// The backend in use.
    #[must_use]
    pub fn backend(&self) -> &dyn Backend {
        self.backend.as_ref()
    }

    /// Kernel and image, built if they are not there, for a machine of this size.
    ///
    /// # Errors
    /// [`SandboxError::Image`].
    pub fn spec(&self, memory_mib: u32, progress: &dyn Progress) -> Result<MachineSpec> {
        self.images.announce(progress);
        Ok(MachineSpec {
            kernel: self.images.kernel(progress)?.path,
            initrd: None,
            image: self.images.image(progress)?.path,
            memory_mib,
            limits: Limits::NONE,
        })
    }

    /// The stored template of this size, which is made first if it is not there.
    ///
    /// # Errors
    /// [`SandboxError::Image`], [`SandboxError::Machine`], [`SandboxError::Template`].
    pub fn template(&self, memory_mib: u32, progress: &dyn Progress) -> Result<StoredTemplate> {
        self.images.announce(progress);
        let kernel = self.images.kernel(progress)?;
        let image = self.images.image(progress)?;
        let key = template_key(self.backend.as_ref(), memory_mib, &[kernel.key, image.key]);
        let kind = format!("template-{}", self.backend.kind().name());
        let folder = self
            .images
            .store()
            .get_or_build(&kind, key, progress, |folder| {
                progress.step(&format!(
                    "starting {} once and keeping the VM as a template",
                    adapter().language
                ));
                let template = self.live_template(memory_mib, progress)?;
                template.save(folder).map_err(SandboxError::from)
            })?;
        Ok(StoredTemplate {
            template: self.backend.open_template(&folder, &image.path)?,
            backend: self.backend.kind(),
            key,
        })
    }

    /// A template made now, in memory.
    ///
    /// # Errors
    /// [`SandboxError::Image`], [`SandboxError::Machine`], [`SandboxError::Template`].
    pub fn live_template(
        &self,
        memory_mib: u32,
        progress: &dyn Progress,
    ) -> Result<Box<dyn Template>> {
        let spec = self.spec(memory_mib, progress)?;
        let run = |source: &String| Exec::program("<template>", source.as_bytes());
        let mut template = warm_template(self.backend.as_ref(), &spec, run(&adapter().warm_up))?;
        template.train(&mut |machine| exercise(machine, run(&adapter().trial)))?;
        Ok(template)
    }
}

/// The templates of Linux guests of one size, one for each image.
#[derive(Clone, Debug)]
pub struct LinuxTemplates {
    options: EngineOptions,
    memory_mib: u32,
}

/// The template of an image, in the store.
struct StoredLinux {
    backend: Box<dyn Backend>,
    folder: PathBuf,
    root: PathBuf,
    key: Key,
}

/// Their kind of entry in the store.
const LINUX_TEMPLATE: &str = "template-linux";

impl LinuxTemplates {
    /// Those of this size.
    #[must_use]
    pub fn new(options: EngineOptions, memory_mib: u32) -> Self {
        Self {
            options,
            memory_mib,
        }
    }

    /// The images, to be looked at and made.
    #[must_use]
    pub fn images(&self) -> Images {
        Images::new(self.options.home.clone(), self.options.source.clone())
    }

    /// Has the template of an image in the store. Where it is not there it is made, which takes minutes.
    ///
    /// # Errors
    /// [`SandboxError::Image`], [`SandboxError::Machine`] without QEMU, [`SandboxError::Template`].
    pub fn prepare(&self, image: Option<&ImageName>, progress: &dyn Progress) -> Result<()> {
        self.stored(image, progress).map(|_| ())
    }

    /// The template of an image, which is made first if it is not there.
    ///
    /// # Errors
    /// As [`Self::prepare`].
    pub fn open(
        &self,
        image: Option<&ImageName>,
        progress: &dyn Progress,
    ) -> Result<StoredTemplate> {
        let stored = self.stored(image, progress)?;
        Ok(StoredTemplate {
            template: stored.backend.open_template(&stored.folder, &stored.root)?,
            backend: stored.backend.kind(),
            key: stored.key,
        })
    }

    /// Takes the name from an image, and what was built of it away.
    ///
    /// # Errors
    /// [`SandboxError::Image`].
    pub fn remove(&self, image: &ImageName) -> Result<()> {
        let images = self.images();
        // Without the backend that made it nobody knows which template is the image's.
        let template = open_backend(BackendKind::Qemu, &self.options).ok();
        let key = images.linux_parts_key(Some(image))?;
        let is_last = images.remove(image)?;
        if let Some(backend) = template.filter(|_| is_last) {
            let key = template_key(backend.as_ref(), self.memory_mib, &[key]);
            images.store().remove(LINUX_TEMPLATE, key)?;
        }
        Ok(())
    }

    fn stored(&self, image: Option<&ImageName>, progress: &dyn Progress) -> Result<StoredLinux> {
        /// What agents import first. Once here is seconds less in every session.
        const WARM_UP: &str = "import numpy, pandas";
        let backend = open_backend(BackendKind::Qemu, &self.options)?;
        let images = self.images();
        let image = images.linux(image, progress)?;
        let key = template_key(backend.as_ref(), self.memory_mib, &[image.key]);
        let spec = MachineSpec {
            kernel: image.kernel,
            image: image.root.clone(),
            initrd: Some(image.initrd),
            memory_mib: self.memory_mib,
            limits: Limits::NONE,
        };
        let store = images.store();
        let folder = store.get_or_build(LINUX_TEMPLATE, key, progress, |folder| {
            progress
                .step("starting Linux once and keeping the VM as a template, in about a minute");
            let exec = Exec {
                mode: Mode::Prompt,
                ..Exec::program("<template>", WARM_UP)
            };
            let template = warm_template(backend.as_ref(), &spec, exec)?;
            template.save(folder).map_err(SandboxError::from)
        })?;
        Ok(StoredLinux {
            backend,
            folder,
            root: image.root,
            key,
        })
    }
}

/// Names a template by all that its memory and its processor's state depend on.
fn template_key(backend: &dyn Backend, memory_mib: u32, images: &[Key]) -> Key {
    let images = images.iter().map(Key::bytes);
    let size = memory_mib.to_le_bytes();
    let (host, format) = (host_identity(), backend.state_format());
    let surroundings = [
        &size[..],
        host.as_bytes(),
        backend.kind().name().as_bytes(),
        &format,
        env!("CARGO_PKG_VERSION").as_bytes(),
    ];
    Key::of(images.chain(surroundings))
}

/// Boots a machine, has it do something, and makes it a template.
fn warm_template(
    backend: &dyn Backend,
    spec: &MachineSpec,
    warm_up: Exec,
) -> Result<Box<dyn Template>> {
    let mut machine = backend.boot(spec)?;
    if let Err(error) = exercise(machine.as_mut(), warm_up) {
        return Err(SandboxError::Template {
            reason: last_words(machine.as_mut(), &error),
        });
    }
    Ok(machine.into_template()?)
}

/// Ends a machine that failed and says why, with the end of its serial log.
pub(crate) fn last_words(machine: &mut dyn Machine, error: &MachineError) -> String {
    let ending = match error {
        MachineError::Closed => machine.wait_ending(LAST_WORDS).ok().flatten(),
        // Hostile or damaged: it is not waited for.
        _ => None,
    };
    let Some(ending) = ending.or_else(|| machine.kill().ok()) else {
        return error.to_string();
    };
    let mut text = match error {
        MachineError::Closed => ending.to_string(),
        other => other.to_string(),
    };
    let serial = String::from_utf8_lossy(&ending.serial_tail);
    if !serial.trim().is_empty() {
        text.push_str("; its serial log ends: ");
        text.extend(serial.trim().escape_debug());
    }
    text
}

/// Runs a short program in a machine. On a thread of its own, because a guest brings a runtime,
/// which cannot be entered within another.
fn exercise(machine: &mut dyn Machine, exec: Exec) -> Result<(), MachineError> {
    let channel = machine.connect()?;
    let run = || {
        let mut guest = BlockingGuest::greet(channel)?;
        guest.exec(exec, &Until::default(), &out_of_reach(), &mut |_, _| Ok(()))
    };
    let ended = std::thread::scope(|scope| scope.spawn(run).join());
    match ended
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?
        .outcome
    {
        Outcome::Exited { code: 0, .. } => Ok(()),
        other => Err(MachineError::Unexpected(format!("{other:?}"))),
    }
}

fn open_backend(kind: BackendKind, options: &EngineOptions) -> Result<Box<dyn Backend>> {
    Ok(match kind {
        BackendKind::Kvm => Box::new(Kvm::new(options.vm_process.clone())?),
        BackendKind::Qemu => open_qemu(&options.probe)?,
        BackendKind::Firecracker => {
            let program = options.probe.find_firecracker().unwrap_or_default();
            Box::new(Firecracker::new(program, options.home.join("run"))?)
        }
    })
}

fn open_qemu(probe: &ProbeConfig) -> Result<Box<dyn Backend>> {
    let program = probe.find_qemu().ok_or(MachineError::Unavailable {
        backend: BackendKind::Qemu.name(),
        cause:
            "no `qemu-system-x86_64` on PATH; install it, on Debian: apt install qemu-system-x86"
                .to_owned(),
    })?;
    Ok(Box::new(Qemu::new(program, best_accelerator())?))
}

/// What a template's processor state depends on, beside the backend.
fn host_identity() -> String {
    let read = |path: &str| std::fs::read_to_string(Path::new(path)).unwrap_or_default();
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
