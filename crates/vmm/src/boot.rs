//! Cold boot: kernel, command line and boot information into memory, vCPU to the PVH
//! entry. Protocol: <https://xenbits.xen.org/docs/unstable/misc/pvh.html>.

use crate::memory::GuestMemory;
use crate::{Result, VmmError};
use kvm_bindings::{kvm_regs, kvm_segment};
use kvm_ioctls::VcpuFd;
use linux_loader::configurator::pvh::PvhBootConfigurator;
use linux_loader::configurator::{BootConfigurator, BootParams};
use linux_loader::loader::KernelLoader;
use linux_loader::loader::elf::start_info::{
    hvm_memmap_table_entry, hvm_modlist_entry, hvm_start_info,
};
use linux_loader::loader::elf::{Elf, PvhBootCapability};
use std::fs::File;
use ukernel_abi::layout::{
    CMDLINE_EMBEDDED, CMDLINE_TSC_KHZ, CMDLINE_VIRTIO_MMIO, VSOCK_MMIO_BASE,
};
use vm_memory::{Bytes, GuestAddress};

/// Longest command line, with its final NUL, in bytes.
pub const MAX_COMMAND_LINE_BYTES: usize = 2048;

// Where Firecracker has them, so that a kernel sees the same picture on both.
const START_INFO: u64 = 0x6000;
const MODULES: u64 = 0x6040;
const MEMORY_MAP: u64 = 0x7000;
const COMMAND_LINE: u64 = 0x2_0000;
/// End of conventional memory below the legacy hole.
const LOW_MEMORY_END: u64 = 0x9_fc00;
const HIGH_MEMORY_START: u64 = 0x10_0000;

const START_MAGIC: u32 = 0x336e_c578;
const E820_RAM: u32 = 1;

/// Loads `kernel` and everything it is told, and returns its entry point.
///
/// # Errors
/// [`VmmError::BadKernel`], [`VmmError::CommandLineTooLong`], [`VmmError::Memory`].
pub fn load(
    memory: &GuestMemory,
    kernel: &mut File,
    tsc_khz: u32,
    extra_command_line: &str,
) -> Result<u64> {
    let entry = load_kernel(memory, kernel)?;
    let line = command_line(tsc_khz, extra_command_line);
    if line.len() + 1 > MAX_COMMAND_LINE_BYTES || line.contains('\0') {
        return Err(VmmError::CommandLineTooLong {
            length: line.len(),
            max: MAX_COMMAND_LINE_BYTES - 1,
        });
    }
    let mut bytes = line.into_bytes();
    bytes.push(0);
    memory
        .ram()
        .write_slice(&bytes, GuestAddress(COMMAND_LINE))
        .map_err(|error| VmmError::Memory {
            cause: error.to_string(),
        })?;
    write_start_info(memory)?;
    Ok(entry)
}

/// What the kernel is told: the embedded ports, the clock, its one device.
fn command_line(tsc_khz: u32, extra: &str) -> String {
    let line = format!(
        "{CMDLINE_EMBEDDED} {CMDLINE_TSC_KHZ}{tsc_khz} {CMDLINE_VIRTIO_MMIO}4K@{VSOCK_MMIO_BASE:#x}:5 {extra}"
    );
    line.trim_end().to_owned()
}

fn load_kernel(memory: &GuestMemory, kernel: &mut File) -> Result<u64> {
    let loaded = Elf::load(
        memory.ram(),
        None,
        kernel,
        Some(GuestAddress(HIGH_MEMORY_START)),
    )
    .map_err(|error| VmmError::BadKernel {
        cause: error.to_string(),
    })?;
    if loaded.kernel_end > memory.layout().ram_bytes() {
        return Err(VmmError::BadKernel {
            cause: "it ends past RAM".to_owned(),
        });
    }
    match loaded.pvh_boot_cap {
        PvhBootCapability::PvhEntryPresent(entry) => Ok(entry.0),
        _ => Err(VmmError::BadKernel {
            cause: "it has no PVH entry note".to_owned(),
        }),
    }
}

fn write_start_info(memory: &GuestMemory) -> Result<()> {
    let layout = memory.layout();
    let map = [
        hvm_memmap_table_entry {
            addr: 0,
            size: LOW_MEMORY_END,
            type_: E820_RAM,
            reserved: 0,
        },
        hvm_memmap_table_entry {
            addr: HIGH_MEMORY_START,
            size: layout.end() - HIGH_MEMORY_START,
            type_: E820_RAM,
            reserved: 0,
        },
    ];
    let has_image = layout.image_bytes() > 0;
    let info = hvm_start_info {
        magic: START_MAGIC,
        version: 1,
        nr_modules: u32::from(has_image),
        modlist_paddr: if has_image { MODULES } else { 0 },
        cmdline_paddr: COMMAND_LINE,
        memmap_paddr: MEMORY_MAP,
        memmap_entries: map.len() as u32,
        ..Default::default()
    };
    let mut params = BootParams::new(&info, GuestAddress(START_INFO));
    params.set_sections(&map, GuestAddress(MEMORY_MAP));
    let image = hvm_modlist_entry {
        paddr: layout.ram_bytes(),
        size: layout.image_bytes(),
        ..Default::default()
    };
    params.set_modules(&[image], GuestAddress(MODULES));
    PvhBootConfigurator::write_bootparams(&params, memory.ram()).map_err(|error| VmmError::Memory {
        cause: error.to_string(),
    })
}

/// Puts the vCPU at the PVH entry: 32-bit protected mode, flat segments, paging off,
/// `rbx` at the boot information.
///
/// # Errors
/// [`VmmError::Kvm`].
pub fn enter(vcpu: &VcpuFd, entry: u64) -> Result<()> {
    const CR0_PE: u64 = 1;
    const CR0_ET: u64 = 1 << 4;
    let mut sregs = vcpu.get_sregs().map_err(VmmError::kvm("KVM_GET_SREGS"))?;
    let code = segment(0x8, 0xb, 0xffff_ffff);
    let data = segment(0x10, 0x3, 0xffff_ffff);
    sregs.cs = code;
    sregs.ds = data;
    sregs.es = data;
    sregs.fs = data;
    sregs.gs = data;
    sregs.ss = data;
    sregs.tr = kvm_segment {
        db: 0,
        s: 0,
        g: 0,
        ..segment(0x18, 0xb, 0x67)
    };
    sregs.cr0 = CR0_PE | CR0_ET;
    sregs.cr4 = 0;
    sregs.efer = 0;
    vcpu.set_sregs(&sregs)
        .map_err(VmmError::kvm("KVM_SET_SREGS"))?;
    let regs = kvm_regs {
        rflags: 2,
        rip: entry,
        rbx: START_INFO,
        ..Default::default()
    };
    vcpu.set_regs(&regs).map_err(VmmError::kvm("KVM_SET_REGS"))
}

/// A present, 32-bit, page-granular segment from address 0.
fn segment(selector: u16, type_: u8, limit: u32) -> kvm_segment {
    kvm_segment {
        base: 0,
        limit,
        selector,
        type_,
        present: 1,
        db: 1,
        s: 1,
        g: 1,
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{Backing, MemoryLayout, create_ram};
    use std::io::Write;
    use ukernel_abi::layout::MIN_MEMORY_MIB;

    #[test]
    fn says_what_the_layout_promises() {
        let line = command_line(2_600_000, "");
        assert_eq!(
            line,
            "ukernel.embedded ukernel.tsc_khz=2600000 virtio_mmio.device=4K@0xd0000000:5"
        );
    }

    #[test]
    fn a_file_that_is_no_kernel_is_refused() {
        let layout = MemoryLayout::new(MIN_MEMORY_MIB, 0).expect("fits");
        let ram = create_ram(layout).expect("memfd");
        let mut kernel = ram.try_clone().expect("dup");
        let memory = GuestMemory::map(layout, ram, Backing::Shared, None).expect("map");
        kernel.write_all(b"#!/bin/sh\n").expect("write");
        assert!(matches!(
            load(&memory, &mut kernel, 1, ""),
            Err(VmmError::BadKernel { .. })
        ));
    }
}
