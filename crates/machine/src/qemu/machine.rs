//! A machine: booted or loaded, paused, connected to, made a template.

use super::memory::Mapping;
use super::process::{Guest, Parts, Process, Start, in_memory};
use super::template::QemuTemplate;
use super::{Shared, failure};
use crate::greeting::Greeting;
use crate::saved::Body;
use crate::{
    Channel, Ending, Limits, Machine, MachineError, MachineSpec, MachineStats, Result, Template,
    usage,
};
use rustix::fs::{MemfdFlags, memfd_create};
use serde_json::json;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use ukernel_abi::layout::CMDLINE_TSC_KHZ;
use ukernel_vmm::{difference, sparse};

/// A machine of QEMU.
#[derive(Debug)]
pub(super) struct QemuMachine {
    process: Process,
    greeting: Greeting,
    /// RAM of a machine that was booted; a fork's is its template's, which `mapping` differs from.
    ram: Arc<File>,
    mapping: Option<Mapping>,
    guest: Guest,
    memory_mib: u32,
    shared: Arc<Shared>,
}

impl QemuMachine {
    pub(super) fn boot(shared: &Arc<Shared>, spec: &MachineSpec) -> Result<Self> {
        let ram = memory(spec.memory_mib)?;
        let (guest, initrd, command_line) = match &spec.initrd {
            Some(initrd) => {
                let disk = Arc::new(open(&spec.image)?);
                (Guest::Linux { disk }, initrd, linux_command_line()?)
            }
            None => {
                let command_line = format!("{CMDLINE_TSC_KHZ}{}", tsc_khz()?);
                (Guest::Ukernel, &spec.image, command_line)
            }
        };
        let (kernel, initrd) = (open(&spec.kernel)?, open(initrd)?);
        let mut process = Process::spawn(
            shared,
            &Parts {
                memory: &ram,
                memory_mib: spec.memory_mib,
                guest: &guest,
                start: Start::Boot {
                    kernel: &kernel,
                    initrd: &initrd,
                    command_line: &command_line,
                },
            },
        )?;
        process.run("cont", &json!({}))?;
        Ok(Self {
            process,
            greeting: Greeting::new(spec.limits)?,
            ram: Arc::new(ram),
            mapping: None,
            guest,
            memory_mib: spec.memory_mib,
            shared: Arc::clone(shared),
        })
    }

    /// A copy of a template's machine, with what a snapshot differs in.
    pub(super) fn load(
        template: &QemuTemplate,
        devices: &[u8],
        pages: Option<&mut File>,
        limits: Limits,
    ) -> Result<Self> {
        let mut process = Process::spawn(
            &template.shared,
            &Parts {
                memory: &template.ram,
                memory_mib: template.memory_mib,
                guest: &template.guest,
                start: Start::Load { state: devices },
            },
        )?;
        let mapping = Mapping::find(process.id(), &template.ram)?;
        if let Some(pages) = pages {
            mapping.apply(pages)?;
        }
        process.load_devices()?;
        process.run("cont", &json!({}))?;
        Ok(Self {
            process,
            greeting: Greeting::new(limits)?,
            ram: Arc::clone(&template.ram),
            mapping: Some(mapping),
            guest: template.guest.clone(),
            memory_mib: template.memory_mib,
            shared: Arc::clone(&template.shared),
        })
    }
}

/// What a Linux is told. Without the counter's frequency it measures it, which hangs now and then under emulation.
fn linux_command_line() -> Result<String> {
    let khz = tsc_khz()?;
    Ok(format!(
        "console=ttyS0 quiet reboot=t panic=-1 nokaslr tsc=reliable tsc_early_khz={khz} no_timer_check \
         lpj=4000000 random.trust_cpu=on"
    ))
}

/// Frequency of the time-stamp counter guests see, in kHz: the host's.
fn tsc_khz() -> Result<u32> {
    let khz = ukernel_vmm::speed::tsc_khz().or_else(|_| ukernel_vmm::speed::counted_khz())?;
    Ok(khz)
}

/// Memory of a guest, which can be sealed.
fn memory(mebibytes: u32) -> Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let failed = |error| MachineError::io("making the memory of a machine", error);
    let memory = memfd_create("ukernel-memory", flags).map_err(|error| failed(error.into()))?;
    let memory = File::from(memory);
    memory.set_len(u64::from(mebibytes) << 20).map_err(failed)?;
    Ok(memory)
}

fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|error| MachineError::io(format!("opening {}", path.display()), error))
}

impl Machine for QemuMachine {
    fn connect(&mut self) -> Result<Channel> {
        if let Some(ending) = self.process.wait_ending(Duration::ZERO)? {
            return Err(failure(format!("the process has ended: {ending}")));
        }
        Ok(Channel::new(self.process.connect()?, self.greeting))
    }

    fn pause(&mut self) -> Result<()> {
        self.process.run("stop", &json!({})).map(|_| ())
    }

    fn resume(&mut self) -> Result<()> {
        self.process.run("cont", &json!({})).map(|_| ())
    }

    fn keeps_channel(&self) -> bool {
        true
    }

    fn snapshot(&mut self, body: &mut Body) -> Result<()> {
        let mapping = self.mapping.as_ref().ok_or(MachineError::NOT_FORKED)?;
        let memory = in_memory("ukernel-snapshot", &[])
            .map_err(|error| MachineError::io("making a file for a snapshot", error))?;
        self.process.run("stop", &json!({}))?;
        let taken = self
            .process
            .devices()
            .and_then(|devices| Ok((devices, mapping.gather(&memory)?)));
        let resumed = self.process.run("cont", &json!({}));
        let (devices, written) = taken?;
        resumed?;
        // While the guest goes on.
        difference::write(&self.ram, &memory, &written, &mut body.pages)?;
        body.state
            .write_all(&devices)
            .and_then(|()| body.cut())
            .map_err(|error| MachineError::io("writing a state", error))
    }

    fn into_template(mut self: Box<Self>) -> Result<Box<dyn Template>> {
        self.process.run("stop", &json!({}))?;
        let devices = self.process.devices()?;
        let whole = self.mapping.as_ref().map(|mapping| {
            // What it shares with the template it was forked from, and what it has written since.
            let memory = memory(self.memory_mib)?;
            sparse::copy(&self.ram, &memory)
                .map_err(|error| MachineError::io("copying a template's memory", error))?;
            mapping.gather(&memory)?;
            Ok::<_, MachineError>(Arc::new(memory))
        });
        if let Some(whole) = whole {
            self.ram = whole?;
        }
        self.process.kill()?;
        let Self {
            process,
            ram,
            guest,
            memory_mib,
            shared,
            ..
        } = *self;
        // Its mapping is gone with it, so that the memory can be sealed.
        drop(process);
        let template = QemuTemplate::new(ram, devices, guest, memory_mib, shared)?;
        Ok(Box::new(template))
    }

    fn stats(&mut self) -> Result<MachineStats> {
        if let Some(ending) = self.process.wait_ending(Duration::ZERO)? {
            return Err(failure(format!("the process has ended: {ending}")));
        }
        usage::stats(self.process.id())
    }

    fn process_id(&self) -> u32 {
        self.process.id()
    }

    fn wait_ending(&mut self, timeout: Duration) -> Result<Option<Ending>> {
        self.process.wait_ending(timeout)
    }

    fn kill(&mut self) -> Result<Ending> {
        self.process.kill()
    }
}
