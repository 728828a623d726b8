//! The vCPU's state: registers, vector state, pending events and model-specific registers.

use crate::{Result, VmmError};
use kvm_bindings::{
    Msrs, kvm_msr_entry, kvm_regs, kvm_sregs, kvm_vcpu_events, kvm_xcrs, kvm_xsave,
};
use kvm_ioctls::{Kvm, VcpuFd};
use serde::{Deserialize, Serialize};

/// Model-specific registers a guest without interrupt controller can have changed. EFER,
/// FS and GS bases come with the segment registers.
const SAVED_MSRS: [u32; 15] = [
    0x10,        // TSC
    0x3b,        // TSC_ADJUST
    0x48,        // SPEC_CTRL
    0x174,       // SYSENTER_CS
    0x175,       // SYSENTER_ESP
    0x176,       // SYSENTER_EIP
    0x1a0,       // MISC_ENABLE
    0x277,       // PAT
    0xda0,       // XSS
    0xc000_0081, // STAR
    0xc000_0082, // LSTAR
    0xc000_0083, // CSTAR
    0xc000_0084, // SYSCALL_MASK
    0xc000_0102, // KERNEL_GS_BASE
    0xc000_0103, // TSC_AUX
];

/// Registers of a stopped vCPU.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct VcpuState {
    regs: kvm_regs,
    sregs: kvm_sregs,
    xsave: kvm_xsave,
    xcrs: kvm_xcrs,
    events: kvm_vcpu_events,
    msrs: Vec<kvm_msr_entry>,
}

/// The model-specific registers to save that this host's KVM knows.
///
/// # Errors
/// [`VmmError::Kvm`].
pub fn saved_msrs(kvm: &Kvm) -> Result<Vec<u32>> {
    let known = kvm
        .get_msr_index_list()
        .map_err(VmmError::kvm("KVM_GET_MSR_INDEX_LIST"))?;
    Ok(SAVED_MSRS
        .into_iter()
        .filter(|index| known.as_slice().contains(index))
        .collect())
}

impl VcpuState {
    /// Reads the state of `vcpu`, which must have no access of the guest half done.
    ///
    /// # Errors
    /// [`VmmError::Kvm`].
    pub fn save(vcpu: &VcpuFd, msrs: &[u32]) -> Result<Self> {
        Ok(Self {
            regs: vcpu.get_regs().map_err(VmmError::kvm("KVM_GET_REGS"))?,
            sregs: vcpu.get_sregs().map_err(VmmError::kvm("KVM_GET_SREGS"))?,
            xsave: vcpu.get_xsave().map_err(VmmError::kvm("KVM_GET_XSAVE"))?,
            xcrs: vcpu.get_xcrs().map_err(VmmError::kvm("KVM_GET_XCRS"))?,
            events: vcpu
                .get_vcpu_events()
                .map_err(VmmError::kvm("KVM_GET_VCPU_EVENTS"))?,
            msrs: read_msrs(vcpu, msrs)?,
        })
    }

    /// Puts the state into `vcpu`.
    ///
    /// # Errors
    /// [`VmmError::Kvm`], also for states no processor can be in.
    pub fn restore(&self, vcpu: &VcpuFd) -> Result<()> {
        vcpu.set_sregs(&self.sregs)
            .map_err(VmmError::kvm("KVM_SET_SREGS"))?;
        vcpu.set_xcrs(&self.xcrs)
            .map_err(VmmError::kvm("KVM_SET_XCRS"))?;
        // SAFETY: the kernel reads 4096 bytes, the size of the structure, unless this
        // process asked for dynamic features such as AMX tiles, which it never does.
        unsafe { vcpu.set_xsave(&self.xsave) }.map_err(VmmError::kvm("KVM_SET_XSAVE"))?;
        write_msrs(vcpu, &self.msrs)?;
        vcpu.set_vcpu_events(&self.events)
            .map_err(VmmError::kvm("KVM_SET_VCPU_EVENTS"))?;
        vcpu.set_regs(&self.regs)
            .map_err(VmmError::kvm("KVM_SET_REGS"))
    }

    /// Checks a state that came from outside: only the registers that are ever saved.
    ///
    /// # Errors
    /// [`VmmError::BadState`].
    pub fn validated(&self) -> Result<()> {
        let fits = self.msrs.len() <= SAVED_MSRS.len()
            && self.msrs.iter().all(|msr| SAVED_MSRS.contains(&msr.index));
        if fits {
            Ok(())
        } else {
            Err(VmmError::BadState {
                cause: "it sets registers that are never saved",
            })
        }
    }
}

/// Reads `indices`, leaving out what KVM lists but cannot read (software KVM does that).
fn read_msrs(vcpu: &VcpuFd, indices: &[u32]) -> Result<Vec<kvm_msr_entry>> {
    let mut wanted: Vec<kvm_msr_entry> = indices
        .iter()
        .map(|index| kvm_msr_entry {
            index: *index,
            ..Default::default()
        })
        .collect();
    while !wanted.is_empty() {
        let mut msrs = to_msrs(&wanted)?;
        let read = vcpu
            .get_msrs(&mut msrs)
            .map_err(VmmError::kvm("KVM_GET_MSRS"))?;
        if read >= wanted.len() {
            return Ok(msrs.as_slice().to_vec());
        }
        wanted.remove(read);
    }
    Ok(wanted)
}

fn write_msrs(vcpu: &VcpuFd, entries: &[kvm_msr_entry]) -> Result<()> {
    let written = vcpu
        .set_msrs(&to_msrs(entries)?)
        .map_err(VmmError::kvm("KVM_SET_MSRS"))?;
    match entries.get(written) {
        None => Ok(()),
        Some(entry) => Err(VmmError::Kvm {
            request: "KVM_SET_MSRS",
            cause: std::io::Error::other(format!(
                "register {:#x} does not take {:#x}",
                entry.index, entry.data
            )),
        }),
    }
}

fn to_msrs(entries: &[kvm_msr_entry]) -> Result<Msrs> {
    Msrs::from_entries(entries).map_err(|_| VmmError::BadState {
        cause: "too many model-specific registers",
    })
}
