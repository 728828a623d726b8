//! The memory slots KVM has of a VM: they grow with what the guest uses.
//!
//! When a slot is made, KVM allocates arrays for every page of it: 10 bytes a page where KVM shadows page tables
//! (software KVM; 5.7 MiB for 2304 MiB of RAM), 2 bytes elsewhere. Guests use a small part of their RAM, at its two ends.
//! So RAM is divided into stretches of 32 MiB with a slot each, which is made
//! - at the start, if the file behind RAM, a fork's template above all, holds something there;
//! - when the guest touches the stretch: KVM then decodes the instruction and hands the access to the VMM as it does for
//!   devices, and the VMM makes the slot and does the access;
//! - together with all the others, when KVM cannot decode the instruction.
//!
//! Before Linux 5.15, KVM does not report the last of these; there every stretch has its slot from the start.

use crate::memory::GuestMemory;
use crate::{Result, VmmError};
use kvm_bindings::{
    KVM_CAP_EXIT_ON_EMULATION_FAILURE, KVM_MEM_READONLY, kvm_enable_cap,
    kvm_userspace_memory_region,
};
use kvm_ioctls::VmFd;
use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;
use ukernel_abi::layout::{MAX_MEMORY_MIB, PAGE_BYTES};
use vm_memory::{Bytes, GuestAddress};

/// Size of a stretch, in bytes. The last one of RAM may be shorter.
const STRETCH_BYTES: u64 = 32 << 20;

/// Slot of the image, behind those of the stretches.
const IMAGE_SLOT: u32 = (((MAX_MEMORY_MIB as u64) << 20) / STRETCH_BYTES) as u32;

const _: () = assert!(IMAGE_SLOT <= u128::BITS, "a bit for every stretch");

/// A VM and its slots. Must be dropped before the memory.
#[derive(Debug)]
pub(crate) struct Slots {
    vm: VmFd,
    /// Whether KVM reports instructions it cannot decode.
    can_grow: bool,
    /// The stretches that have a slot, a bit each.
    made: u128,
}

impl Slots {
    /// The slots of a VM that has none yet.
    pub fn new(vm: VmFd) -> Self {
        let mut reports = kvm_enable_cap {
            cap: KVM_CAP_EXIT_ON_EMULATION_FAILURE,
            ..Default::default()
        };
        reports.args[0] = 1;
        Self {
            can_grow: vm.enable_cap(&reports).is_ok(),
            vm,
            made: 0,
        }
    }

    /// Makes the slots the guest starts with: of the image, and of the stretches of RAM that hold something.
    ///
    /// # Errors
    /// [`VmmError::Kvm`], [`VmmError::Os`] if the file behind RAM cannot be searched.
    pub fn start(&mut self, memory: &GuestMemory) -> Result<()> {
        if let Some(image) = memory.image_address() {
            let bytes = memory.layout().image_bytes();
            let bytes = bytes.next_multiple_of(PAGE_BYTES);
            let start = memory.layout().ram_bytes();
            self.set(IMAGE_SLOT, KVM_MEM_READONLY, start, image, bytes)?;
        }
        if self.can_grow {
            self.make_used(memory)
        } else {
            self.make_all(memory).map(|_| ())
        }
    }

    /// Makes the slots of all stretches. Whether one was missing.
    ///
    /// # Errors
    /// [`VmmError::Kvm`].
    pub fn make_all(&mut self, memory: &GuestMemory) -> Result<bool> {
        let before = self.made;
        for start in (0..memory.layout().ram_bytes()).step_by(STRETCH_BYTES as usize) {
            self.make(memory, start)?;
        }
        Ok(self.made != before)
    }

    /// Serves a write of the guest that KVM found no slot for. Outside RAM it is lost.
    ///
    /// # Errors
    /// [`VmmError::Kvm`].
    pub fn write(&mut self, memory: &GuestMemory, address: u64, data: &[u8]) -> Result<()> {
        if self.make(memory, address)? {
            let written = memory.ram().write_slice(data, GuestAddress(address));
            written.map_err(VmmError::memory)?;
        }
        Ok(())
    }

    /// Serves a read of the guest that KVM found no slot for. Outside RAM there are ones.
    ///
    /// # Errors
    /// [`VmmError::Kvm`].
    pub fn read(&mut self, memory: &GuestMemory, address: u64, data: &mut [u8]) -> Result<()> {
        if self.make(memory, address)? {
            let read = memory.ram().read_slice(data, GuestAddress(address));
            read.map_err(VmmError::memory)?;
        } else {
            data.fill(0xff);
        }
        Ok(())
    }

    /// Makes the slots of the stretches in which the file behind RAM is no hole.
    fn make_used(&mut self, memory: &GuestMemory) -> Result<()> {
        let mut position = 0;
        while position < memory.layout().ram_bytes() {
            // All forks of a template share this file's position, which nobody goes by.
            match seek(memory.ram_file(), SeekFrom::Data(position)) {
                Ok(data) => {
                    self.make(memory, data)?;
                    position = (data / STRETCH_BYTES + 1) * STRETCH_BYTES;
                }
                Err(Errno::NXIO) => break,
                Err(error) => return Err(VmmError::os("searching RAM for data", error)),
            }
        }
        Ok(())
    }

    /// Makes the slot of the stretch that has `address`, unless there is one. Whether the address is in RAM.
    fn make(&mut self, memory: &GuestMemory, address: u64) -> Result<bool> {
        let ram_bytes = memory.layout().ram_bytes();
        if address >= ram_bytes {
            return Ok(false);
        }
        // RAM has at most `IMAGE_SLOT` stretches.
        #[expect(clippy::cast_possible_truncation)]
        let stretch = (address / STRETCH_BYTES) as u32;
        if self.made & 1 << stretch == 0 {
            let start = u64::from(stretch) * STRETCH_BYTES;
            let bytes = STRETCH_BYTES.min(ram_bytes - start);
            self.set(
                stretch,
                0,
                start,
                memory.ram_region().as_ptr() as u64 + start,
                bytes,
            )?;
            self.made |= 1 << stretch;
        }
        Ok(true)
    }

    fn set(&self, slot: u32, flags: u32, start: u64, host: u64, bytes: u64) -> Result<()> {
        let region = kvm_userspace_memory_region {
            slot,
            flags,
            guest_phys_addr: start,
            memory_size: bytes,
            userspace_addr: host,
        };
        // SAFETY: the host range is a mapping of at least `bytes` bytes that `GuestMemory`
        // owns; the VM is closed before the memory is dropped (field order in `Vm`).
        unsafe { self.vm.set_user_memory_region(region) }
            .map_err(VmmError::kvm("KVM_SET_USER_MEMORY_REGION"))
    }
}
