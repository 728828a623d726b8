//! The embedded VMM as a backend.

mod template;

use crate::greeting::Greeting;
use crate::saved::Body;
use crate::spares::Spares;
use crate::{
    Backend, BackendKind, Channel, Ending, Machine, MachineError, MachineSpec, MachineStats,
    Result, Template,
};
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use ukernel_vmm::jail::JailReport;
use ukernel_vmm::{BootConfig, Launcher, LauncherOptions, VmProcess, VmmError, wait};

use template::KvmTemplate;

/// How long a guest may take to notice that its channel is closed.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(5);

/// Runs machines on `/dev/kvm`, one jailed process each.
#[derive(Debug)]
pub struct Kvm {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    launcher: Launcher,
    /// Blank processes.
    spares: Spares<VmProcess>,
}

impl Shared {
    /// A blank process, ready to be told what to run.
    fn process(&self) -> Result<VmProcess> {
        let is_ready = |process: &mut VmProcess| {
            process.wait_ready()?;
            // One may have said so and died since.
            match process.wait_ending(Duration::ZERO)? {
                None => Ok(()),
                Some(_) => Err(MachineError::Closed),
            }
        };
        self.spares.take(|| self.start(), is_ready)
    }

    fn prepare(&self, enough: usize) -> bool {
        self.spares.add(enough, || self.start())
    }

    fn start(&self) -> Result<VmProcess> {
        Ok(VmProcess::spawn(&self.launcher)?)
    }
}

impl Kvm {
    /// A backend whose VM processes run `options.program`.
    ///
    /// # Errors
    /// `/dev/kvm` is missing, may not be opened, or is not KVM.
    pub fn new(options: LauncherOptions) -> Result<Self> {
        let shared = Shared {
            launcher: Launcher::new(options)?,
            spares: Spares::default(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }
}

impl Kvm {
    /// What confines VM processes here, and what could not be applied: asks a blank one.
    ///
    /// # Errors
    /// A VM process cannot be started.
    pub fn jail(&self) -> Result<JailReport> {
        let mut process = self.shared.process()?;
        Ok(process.wait_ready()?.clone())
    }
}

impl Backend for Kvm {
    fn kind(&self) -> BackendKind {
        BackendKind::Kvm
    }

    fn state_format(&self) -> Vec<u8> {
        ukernel_vmm::state_format()
    }

    fn prepare(&self) {
        self.shared.prepare(1);
    }

    fn boot(&self, spec: &MachineSpec) -> Result<Box<dyn Machine>> {
        let kernel = open(&spec.kernel)?;
        let image = open(&spec.image)?;
        let greeting = Greeting::new(spec.limits)?;
        let (near, far) = greeted_pair(greeting)?;
        let mut process = self.shared.process()?;
        process.boot(BootConfig {
            kernel: &kernel,
            image: Some(&image),
            memory_mib: spec.memory_mib,
            command_line: "",
            channel: Some(far),
        })?;
        Ok(Box::new(KvmMachine {
            process,
            image: Some(image),
            channel: Some(near),
            greeting,
            shared: Arc::clone(&self.shared),
        }))
    }

    fn open_template(&self, folder: &Path, image: &Path) -> Result<Box<dyn Template>> {
        Ok(Box::new(KvmTemplate::open(
            folder,
            image,
            Arc::clone(&self.shared),
        )?))
    }
}

/// A machine of the embedded VMM.
#[derive(Debug)]
struct KvmMachine {
    process: VmProcess,
    /// The image of a cold boot.
    image: Option<File>,
    /// The host's end of the channel attached at the start, until it is asked for.
    channel: Option<Channel>,
    greeting: Greeting,
    shared: Arc<Shared>,
}

impl KvmMachine {
    /// Pauses the machine at a moment when its guest knows that the channel is closed: no fork
    /// of a template shall have to hear of it.
    fn settle(&mut self) -> Result<()> {
        drop(self.channel.take());
        let deadline = Instant::now() + SETTLE_TIMEOUT;
        let settled = wait::until(deadline, Duration::from_micros(200), || {
            self.process.pause()?;
            match self.process.snapshot(None) {
                Err(VmmError::NotNow(_)) => {
                    self.process.resume()?;
                    Ok(None)
                }
                other => other.map(Some),
            }
        })?;
        settled.map_or(Err(MachineError::TimedOut(SETTLE_TIMEOUT)), |_| Ok(()))
    }
}

impl Machine for KvmMachine {
    fn connect(&mut self) -> Result<Channel> {
        if let Some(channel) = self.channel.take() {
            return Ok(channel);
        }
        let deadline = Instant::now() + SETTLE_TIMEOUT;
        let attached = wait::until(deadline, Duration::from_millis(1), || {
            let (near, far) = greeted_pair(self.greeting)?;
            match self.process.attach_channel(far) {
                Ok(()) => Ok(Some(near)),
                // The guest has not yet heard that the channel before was closed.
                Err(VmmError::NotNow(_)) => Ok(None),
                Err(error) => Err(MachineError::from(error)),
            }
        })?;
        attached.ok_or(MachineError::TimedOut(SETTLE_TIMEOUT))
    }

    fn pause(&mut self) -> Result<()> {
        Ok(self.process.pause()?)
    }

    fn resume(&mut self) -> Result<()> {
        Ok(self.process.resume()?)
    }

    fn interrupt(&mut self) -> Result<bool> {
        Ok(self.process.interrupt()?)
    }

    fn keeps_channel(&self) -> bool {
        true
    }

    fn snapshot(&mut self, body: &mut Body) -> Result<()> {
        if self.image.is_some() {
            return Err(MachineError::NOT_FORKED);
        }
        self.process.pause()?;
        // The VM's process moves the position both have in the file.
        let taken = self.process.snapshot(Some(&body.pages));
        self.process.resume()?;
        let state = taken?.state;
        body.state
            .write_all(&state)
            .and_then(|()| body.cut())
            .map_err(|error| MachineError::io("writing a state", error))
    }

    fn into_template(mut self: Box<Self>) -> Result<Box<dyn Template>> {
        let image = self.image.take();
        self.settle()?;
        Ok(Box::new(KvmTemplate::from_process(
            self.process,
            image,
            self.shared,
        )?))
    }

    fn stats(&mut self) -> Result<MachineStats> {
        let stats = self.process.stats()?;
        Ok(MachineStats {
            user_mode: stats.phases[0].map(Duration::from_micros),
            pss_bytes: stats.pss_bytes,
            private_bytes: stats.private_bytes,
        })
    }

    fn process_id(&self) -> u32 {
        self.process.id()
    }

    fn wait_ending(&mut self, timeout: Duration) -> Result<Option<Ending>> {
        Ok(self.process.wait_ending(timeout)?)
    }

    fn kill(&mut self) -> Result<Ending> {
        Ok(self.process.kill()?)
    }
}

fn create(path: &Path) -> Result<File> {
    File::create_new(path)
        .map_err(|error| MachineError::io(format!("creating {}", path.display()), error))
}

fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|error| MachineError::io(format!("opening {}", path.display()), error))
}

/// Both ends of a channel, with the greeting already in it.
fn greeted_pair(greeting: Greeting) -> Result<(Channel, OwnedFd)> {
    let (near, far) =
        UnixStream::pair().map_err(|error| MachineError::io("making a channel", error))?;
    let mut channel = Channel::new(near, greeting);
    channel.send_greeting()?;
    Ok((channel, far.into()))
}
