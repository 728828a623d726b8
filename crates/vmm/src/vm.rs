//! One VM: its vCPU, memory and devices, and the loop that runs them in one thread.

use crate::boot;
use crate::devices::{Devices, Request};
use crate::exit::ExitReason;
use crate::kick::Kick;
use crate::memory::GuestMemory;
use crate::serial::Serial;
use crate::snapshot::VmState;
use crate::snapshot::vcpu::{self as vcpu_state, VcpuState};
use crate::{Result, VmmError};
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};
use ukernel_abi::layout::{IDLE_FOREVER_US, VSOCK_MMIO_BASE, VSOCK_MMIO_BYTES};

/// Why [`Vm::run`] came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The control socket has something to say. The guest can be run on.
    Control,
    /// The guest will not run again.
    Ended(ExitReason),
}

/// Counters of a VM's life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Counters {
    /// Returns from the guest to the VMM.
    pub exits: u64,
    /// Of these, because the guest was idle.
    pub idles: u64,
    /// Of these, because the VMM was signalled.
    pub kicks: u64,
}

/// A VM that is not told yet what to run: everything that can be done ahead is done.
pub struct BlankVm {
    vcpu: VcpuFd,
    vm: VmFd,
    kick: Kick,
    tsc_khz: u32,
    msrs: Vec<u32>,
}

impl BlankVm {
    /// Creates VM and vCPU on `kvm`. No interrupt controller: besides not being needed,
    /// it would make memory slots cost milliseconds on software KVM.
    ///
    /// # Errors
    /// [`VmmError::Kvm`].
    pub fn create(kvm: &Kvm) -> Result<Self> {
        let kick = Kick::block()?;
        let vm = kvm.create_vm().map_err(VmmError::kvm("KVM_CREATE_VM"))?;
        let mut vcpu = vm
            .create_vcpu(0)
            .map_err(VmmError::kvm("KVM_CREATE_VCPU"))?;
        let cpuid = kvm
            .get_supported_cpuid(kvm_bindings::KVM_MAX_CPUID_ENTRIES)
            .map_err(VmmError::kvm("KVM_GET_SUPPORTED_CPUID"))?;
        vcpu.set_cpuid2(&cpuid)
            .map_err(VmmError::kvm("KVM_SET_CPUID2"))?;
        kick.arm(&vcpu)?;
        // The first KVM_RUN of a VM starts a kernel thread in this process (Linux 6.13 on),
        // which the jail's process limit would refuse with EAGAIN for ever.
        run_without_entering(&mut vcpu)?;
        let tsc_khz = crate::clock::tsc_khz(&vcpu);
        Ok(Self {
            vcpu,
            vm,
            kick,
            tsc_khz,
            msrs: vcpu_state::saved_msrs(kvm)?,
        })
    }

    /// Has `control` interrupt the guest when something arrives there.
    ///
    /// # Errors
    /// [`VmmError::Os`].
    pub fn watch_control(&self, control: BorrowedFd<'_>) -> Result<()> {
        self.kick.watch(control)
    }

    /// Boots `kernel` in `memory`. `extra` is added to the kernel's command line.
    ///
    /// # Errors
    /// Those of [`boot::load`] and [`boot::enter`].
    pub fn boot(
        self,
        memory: GuestMemory,
        kernel: &mut File,
        extra: &str,
        devices: Devices,
    ) -> Result<Vm> {
        memory.register(&self.vm)?;
        let entry = boot::load(&memory, kernel, self.tsc_khz, extra)?;
        boot::enter(&self.vcpu, entry)?;
        Ok(self.with(memory, devices))
    }

    /// Brings back the VM of `state`: RAM as `memory` has it, devices without channel.
    ///
    /// # Errors
    /// [`VmmError::BadState`] if state and memory do not fit, [`VmmError::Kvm`].
    pub fn restore(self, memory: GuestMemory, state: &VmState, serial: Serial) -> Result<Vm> {
        if memory.layout() != state.layout {
            return Err(VmmError::BadState {
                cause: "it belongs to memory of another size",
            });
        }
        memory.register(&self.vm)?;
        state.vcpu.restore(&self.vcpu)?;
        let devices = Devices::new(serial, state.transport(memory.ram())?, state.phases);
        Ok(self.with(memory, devices))
    }

    fn with(self, memory: GuestMemory, devices: Devices) -> Vm {
        Vm {
            vcpu: self.vcpu,
            _vm: self.vm,
            memory,
            devices,
            kick: self.kick,
            msrs: self.msrs,
            idle: None,
            counters: Counters::default(),
        }
    }
}

/// When an idle guest goes on at the latest.
#[derive(Clone, Copy, Debug)]
struct Idle {
    until: Option<Instant>,
}

/// A VM that can run. Fields are dropped in this order: KVM lets go of the memory first.
pub struct Vm {
    vcpu: VcpuFd,
    _vm: VmFd,
    memory: GuestMemory,
    devices: Devices,
    kick: Kick,
    msrs: Vec<u32>,
    idle: Option<Idle>,
    counters: Counters,
}

impl Vm {
    /// Runs the guest until it ends or `control` has something to read.
    ///
    /// # Errors
    /// [`VmmError`] when the host fails; what the guest does is never an error.
    pub fn run(&mut self, control: Option<BorrowedFd<'_>>) -> Result<Stop> {
        loop {
            if self.idle.is_some()
                && let Some(stop) = self.wait_idle(control)?
            {
                return Ok(stop);
            }
            if let Some(stop) = self.enter(control)? {
                return Ok(stop);
            }
        }
    }

    /// Makes `socket` the channel to the guest.
    ///
    /// # Errors
    /// [`VmmError::WrongMoment`] if there is one already.
    pub fn attach_channel(&mut self, socket: OwnedFd) -> Result<()> {
        self.kick.watch(&socket)?;
        if self.devices.transport.vsock.attach(socket) {
            Ok(())
        } else {
            Err(VmmError::WrongMoment {
                command: "attaching a channel",
                cause: "the VM has one; close it first",
            })
        }
    }

    /// Moves what waits between host and guest without running it; `Some`: it ended.
    pub fn settle(&mut self) -> Option<ExitReason> {
        self.devices.process(self.memory.ram(), true).err()
    }

    /// The state of the VM, which goes on from there when run again. Its memory is the
    /// caller's to keep: nothing may run it in between.
    ///
    /// # Errors
    /// [`VmmError::WrongMoment`] while a channel is open, [`VmmError::Kvm`].
    pub fn save(&mut self) -> Result<VmState> {
        if self.devices.transport.vsock.is_connected() {
            return Err(VmmError::WrongMoment {
                command: "a snapshot",
                cause: "the channel is open; close it, and let the guest take what it was sent",
            });
        }
        self.finish_access()?;
        let vcpu = VcpuState::save(&self.vcpu, &self.msrs)?;
        Ok(VmState::new(
            self.memory.layout(),
            self.devices.phases(),
            vcpu,
            &self.devices.transport,
        ))
    }

    /// Completes the port or memory access the guest is in, without running it on: the
    /// registers are those before the access until `KVM_RUN` is called again.
    fn finish_access(&mut self) -> Result<()> {
        self.idle = None;
        run_without_entering(&mut self.vcpu)
    }

    /// The VM's memory.
    #[must_use]
    pub fn memory(&self) -> &GuestMemory {
        &self.memory
    }

    /// Counters so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The devices.
    #[must_use]
    pub fn devices(&self) -> &Devices {
        &self.devices
    }

    /// The vCPU's registers, for people.
    #[must_use]
    pub fn describe_registers(&self) -> Option<String> {
        let regs = self.vcpu.get_regs().ok()?;
        let sregs = self.vcpu.get_sregs().ok()?;
        Some(format!(
            "{regs:#x?}\ncs={:#x} cr0={:#x} cr2={:#x} cr3={:#x} cr4={:#x} efer={:#x}",
            sregs.cs.selector, sregs.cr0, sregs.cr2, sregs.cr3, sregs.cr4, sregs.efer
        ))
    }

    /// Enters the guest once and serves what it comes back with.
    fn enter(&mut self, control: Option<BorrowedFd<'_>>) -> Result<Option<Stop>> {
        let ram = self.memory.ram();
        let request = match self.vcpu.run() {
            Ok(VcpuExit::IoOut(port, data)) => self.devices.write_port(ram, port, data),
            Ok(VcpuExit::IoIn(port, data)) => {
                self.devices.read_port(port, data);
                Request::None
            }
            Ok(VcpuExit::MmioWrite(address, data)) => match device_offset(address) {
                Some(offset) => self.devices.write_mmio(ram, offset, data),
                None => Request::None,
            },
            Ok(VcpuExit::MmioRead(address, data)) => {
                match device_offset(address) {
                    Some(offset) => self.devices.transport.read(offset, data),
                    None => data.fill(0xff),
                }
                Request::None
            }
            // Without interrupts nothing wakes a halted vCPU.
            Ok(VcpuExit::Hlt) => Request::Idle(IDLE_FOREVER_US),
            Ok(VcpuExit::Intr) => return self.kicked(control),
            Ok(VcpuExit::Shutdown) => Request::End(cpu_failure("triple fault")),
            Ok(other) => Request::End(cpu_failure(&format!("{other:?}"))),
            Err(error) if error.errno() == libc::EINTR => return self.kicked(control),
            Err(error) => Request::End(cpu_failure(&format!("KVM_RUN: {error}"))),
        };
        self.counters.exits += 1;
        match request {
            Request::None => {}
            Request::Idle(microseconds) => {
                self.counters.idles += 1;
                self.idle = Some(Idle {
                    until: deadline(microseconds),
                });
            }
            Request::End(reason) => return Ok(Some(Stop::Ended(reason))),
        }
        Ok(None)
    }

    /// A signal took the vCPU out of the guest: see which socket it was.
    fn kicked(&mut self, control: Option<BorrowedFd<'_>>) -> Result<Option<Stop>> {
        self.counters.exits += 1;
        self.counters.kicks += 1;
        self.kick.consume();
        if let Err(reason) = self.devices.process(self.memory.ram(), true) {
            return Ok(Some(Stop::Ended(reason)));
        }
        match control {
            Some(control) if is_readable(control)? => Ok(Some(Stop::Control)),
            _ => Ok(None),
        }
    }

    /// Waits until there is something for the guest, or its time is up.
    fn wait_idle(&mut self, control: Option<BorrowedFd<'_>>) -> Result<Option<Stop>> {
        while let Some(idle) = self.idle {
            if let Err(reason) = self.devices.process(self.memory.ram(), true) {
                return Ok(Some(Stop::Ended(reason)));
            }
            let now = Instant::now();
            if self.devices.transport.vsock.take_news() || idle.until.is_some_and(|at| at <= now) {
                self.idle = None;
                break;
            }
            let until = [idle.until, self.devices.transport.vsock.retry_at()]
                .into_iter()
                .flatten()
                .min();
            let timeout = until.map(|at| at.saturating_duration_since(now));
            if self.sleep(control, timeout)? {
                return Ok(Some(Stop::Control));
            }
        }
        Ok(None)
    }

    /// Sleeps until a socket is ready; `true` if it is the control socket.
    fn sleep(&self, control: Option<BorrowedFd<'_>>, timeout: Option<Duration>) -> Result<bool> {
        let mut sockets = Vec::with_capacity(2);
        if let Some(control) = control {
            sockets.push(PollFd::from_borrowed_fd(control, PollFlags::IN));
        }
        if let Some((channel, read, write)) = self.devices.transport.vsock.interest() {
            let mut events = PollFlags::empty();
            events.set(PollFlags::IN, read);
            events.set(PollFlags::OUT, write);
            sockets.push(PollFd::from_borrowed_fd(channel, events));
        }
        let timeout = timeout.map(|time| Timespec {
            tv_sec: time.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: time.subsec_nanos().into(),
        });
        match poll(&mut sockets, timeout.as_ref()) {
            Ok(0) | Err(Errno::INTR) => return Ok(false),
            Ok(_) => {}
            Err(error) => return Err(VmmError::os("poll", error)),
        }
        // What woke us also left its signal, which would only end the next KVM_RUN.
        self.kick.consume();
        Ok(control.is_some()
            && sockets
                .first()
                .is_some_and(|first| !first.revents().is_empty()))
    }
}

/// Calls `KVM_RUN` so that it comes back before the guest runs an instruction.
fn run_without_entering(vcpu: &mut VcpuFd) -> Result<()> {
    vcpu.set_kvm_immediate_exit(1);
    let result = vcpu.run().map(|exit| format!("{exit:?}"));
    vcpu.set_kvm_immediate_exit(0);
    match result {
        Err(error) if error.errno() == libc::EINTR => Ok(()),
        Err(error) => Err(VmmError::kvm("KVM_RUN")(error)),
        Ok(exit) => Err(VmmError::Kvm {
            request: "KVM_RUN",
            cause: std::io::Error::other(format!("did not stop at once: {exit}")),
        }),
    }
}

fn cpu_failure(what: &str) -> ExitReason {
    ExitReason::CpuFailure {
        what: what.to_owned(),
    }
}

/// The register an address means, if it is one of the device's.
fn device_offset(address: u64) -> Option<u64> {
    address
        .checked_sub(VSOCK_MMIO_BASE)
        .filter(|offset| *offset < VSOCK_MMIO_BYTES)
}

fn deadline(microseconds: u32) -> Option<Instant> {
    (microseconds != IDLE_FOREVER_US)
        .then(|| Instant::now() + Duration::from_micros(microseconds.into()))
}

fn is_readable(socket: BorrowedFd<'_>) -> Result<bool> {
    let mut sockets = [PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN)];
    let now = Timespec::default();
    match poll(&mut sockets, Some(&now)) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(VmmError::os("poll", error)),
    }
}
