//! One VM: its vCPU, memory and devices, from blank to saved. [`crate::run`] runs it.

use crate::alarm::Alarm;
use crate::boot;
use crate::devices::Devices;
use crate::exit::ExitReason;
use crate::kick::Kick;
use crate::memory::GuestMemory;
use crate::run::Idle;
use crate::serial::Serial;
use crate::slots::Slots;
use crate::snapshot::VmState;
use crate::snapshot::vcpu::{self as vcpu_state, VcpuState};
use crate::{Result, VmmError};
use kvm_ioctls::VcpuFd;
use std::fs::File;
use std::os::fd::{BorrowedFd, OwnedFd};

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
    slots: Slots,
    kick: Kick,
    alarm: Alarm,
    tsc_khz: u32,
    msrs: Vec<u32>,
}

impl BlankVm {
    /// Creates VM and vCPU on `kvm`, an open KVM device. No interrupt controller: besides not being needed,
    /// it would make memory slots cost milliseconds on software KVM.
    ///
    /// # Errors
    /// [`VmmError::Kvm`].
    pub fn create(kvm: File) -> Result<Self> {
        let kvm = crate::kvm::from_file(kvm);
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
            slots: Slots::new(vm),
            kick,
            alarm: Alarm::create()?,
            tsc_khz,
            msrs: vcpu_state::saved_msrs(&kvm)?,
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
        mut self,
        memory: GuestMemory,
        kernel: &mut File,
        extra: &str,
        devices: Devices,
    ) -> Result<Vm> {
        let entry = boot::load(&memory, kernel, self.tsc_khz, extra)?;
        self.slots.start(&memory)?;
        boot::enter(&self.vcpu, entry)?;
        Ok(self.with(memory, devices))
    }

    /// Brings back the VM of `state`: RAM as `memory` has it, devices without channel.
    ///
    /// # Errors
    /// [`VmmError::BadState`] if state and memory do not fit, [`VmmError::Kvm`].
    pub fn restore(mut self, memory: GuestMemory, state: &VmState, serial: Serial) -> Result<Vm> {
        if memory.layout() != state.layout {
            return Err(VmmError::BadState {
                cause: "it belongs to memory of another size",
            });
        }
        self.slots.start(&memory)?;
        state.vcpu.restore(&self.vcpu)?;
        let devices = Devices::new(serial, state.transport(memory.ram())?, state.phases);
        Ok(self.with(memory, devices))
    }

    fn with(self, memory: GuestMemory, devices: Devices) -> Vm {
        Vm {
            vcpu: self.vcpu,
            slots: self.slots,
            memory,
            devices,
            kick: self.kick,
            alarm: self.alarm,
            msrs: self.msrs,
            idle: None,
            counters: Counters::default(),
        }
    }
}

/// A VM that can run. Fields are dropped in this order: KVM lets go of the memory first.
pub struct Vm {
    pub(crate) vcpu: VcpuFd,
    pub(crate) slots: Slots,
    pub(crate) memory: GuestMemory,
    pub(crate) devices: Devices,
    pub(crate) kick: Kick,
    pub(crate) alarm: Alarm,
    msrs: Vec<u32>,
    pub(crate) idle: Option<Idle>,
    pub(crate) counters: Counters,
}

impl Vm {
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
    /// caller's to keep: nothing may run it in between. No state has a channel in it: a guest
    /// restored from one saved while its channel is open (`may_be_open`) hears that it is gone
    /// from the next one.
    ///
    /// # Errors
    /// [`VmmError::WrongMoment`] while a channel is open that may not be, [`VmmError::Kvm`].
    pub fn save(&mut self, may_be_open: bool) -> Result<VmState> {
        if !may_be_open && self.devices.transport.vsock.is_connected() {
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
