//! What the VMM says about the machine, checked before it is believed.
//!
//! Two protocols: PVH (Xen's `hvm_start_info`, used by the embedded VMM, Firecracker and
//! QEMU) and the Linux 64-bit boot protocol (`boot_params`).

mod linux;
mod memory;
mod pvh;

use alloc::string::String;
use memory::Physical;
use ukernel_abi::layout;
use ukernel_kernel_core::command_line;
pub(crate) use ukernel_kernel_core::command_line::VirtioMmio;

/// Longest command line taken, in bytes.
const MAX_CMDLINE_BYTES: usize = 2048;

/// The machine.
pub(crate) struct Boot {
    /// End of the memory above the kernel, exclusive.
    pub ram_end: u64,
    /// Where the image lies.
    pub image: core::ops::Range<u64>,
    /// Whether the embedded VMM's ports exist.
    pub embedded: bool,
    /// Frequency of the time-stamp counter.
    pub tsc_khz: u64,
    /// The first virtio-mmio register block, with its interrupt.
    pub device: VirtioMmio,
}

/// Boot information the kernel cannot work with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum BadBoot {
    Protocol,
    OutOfRange,
    NoMemory,
    NoImage,
    NoDevice,
    NoClock,
}

/// What either protocol boils down to.
struct Raw {
    ram_end: u64,
    image: core::ops::Range<u64>,
    cmdline: u64,
}

/// Reads the boot information at `info`.
///
/// # Errors
/// What is missing or makes no sense.
pub(crate) fn read(protocol: u32, info: usize) -> Result<Boot, BadBoot> {
    let raw = match protocol {
        1 => pvh::read(info as u64)?,
        2 => linux::read(info as u64)?,
        _ => return Err(BadBoot::Protocol),
    };
    if raw.ram_end <= layout::POOL_START || raw.ram_end > u64::from(layout::MAX_MEMORY_MIB) << 20 {
        return Err(BadBoot::NoMemory);
    }
    let image = raw.image;
    if image.start < layout::POOL_START
        || image.end > raw.ram_end
        || image.start >= image.end
        || !image.start.is_multiple_of(layout::PAGE_BYTES)
    {
        return Err(BadBoot::NoImage);
    }
    let cmdline = Physical::string(raw.cmdline, MAX_CMDLINE_BYTES)?;
    Ok(Boot {
        ram_end: raw.ram_end,
        image,
        embedded: command_line::is_embedded(&cmdline),
        tsc_khz: command_line::tsc_khz(&cmdline).ok_or(BadBoot::NoClock)?,
        device: command_line::first_device(&cmdline).ok_or(BadBoot::NoDevice)?,
    })
}

/// RAM entries of a memory map, folded into where the memory above the kernel ends.
fn ram_end(entries: impl Iterator<Item = (u64, u64, u32)>) -> u64 {
    const RAM: u32 = 1;
    entries
        .filter(|(start, size, kind)| {
            *kind == RAM
                && *start < layout::POOL_START
                && start.saturating_add(*size) > layout::POOL_START
        })
        .map(|(start, size, _)| start.saturating_add(size))
        .max()
        .unwrap_or(0)
        .min(u64::from(layout::MAX_MEMORY_MIB) << 20)
}

impl core::fmt::Display for BadBoot {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        out.write_str(match self {
            Self::Protocol => "unknown boot protocol",
            Self::OutOfRange => "boot information points outside low memory",
            Self::NoMemory => "too little memory, or more than supported",
            Self::NoImage => "no image, or one that is not in memory",
            Self::NoDevice => "no usable virtio_mmio.device on the command line",
            Self::NoClock => "no usable ukernel.tsc_khz on the command line",
        })
    }
}

fn utf8(bytes: alloc::vec::Vec<u8>) -> Result<String, BadBoot> {
    String::from_utf8(bytes).map_err(|_| BadBoot::OutOfRange)
}
