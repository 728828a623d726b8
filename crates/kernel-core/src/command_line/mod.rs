//! The command line: words in the manner of Linux.

#[cfg(test)]
mod tests;

use ukernel_abi::layout;

/// Smallest register block of a virtio-mmio device: its registers and some of its configuration.
const REGISTERS_BYTES: u64 = 512;

/// A virtio-mmio device as the command line names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VirtioMmio {
    /// Physical address of its registers.
    pub base: u64,
    /// Length of its registers, in bytes.
    pub bytes: u64,
    /// Number of its interrupt line.
    pub interrupt: u32,
}

fn words(cmdline: &str) -> impl Iterator<Item = &str> {
    cmdline.split_ascii_whitespace()
}

fn value<'a>(cmdline: &'a str, key: &str) -> Option<&'a str> {
    words(cmdline).find_map(|word| word.strip_prefix(key))
}

/// Whether the embedded VMM's ports exist.
#[must_use]
pub fn is_embedded(cmdline: &str) -> bool {
    words(cmdline).any(|word| word == layout::CMDLINE_EMBEDDED)
}

/// Frequency of the time-stamp counter, if it is said and can be.
#[must_use]
pub fn tsc_khz(cmdline: &str) -> Option<u64> {
    value(cmdline, layout::CMDLINE_TSC_KHZ)
        .and_then(|khz| khz.parse().ok())
        .filter(|khz| (100_000..100_000_000).contains(khz))
}

/// The first virtio-mmio device, if it can be one.
#[must_use]
pub fn first_device(cmdline: &str) -> Option<VirtioMmio> {
    value(cmdline, layout::CMDLINE_VIRTIO_MMIO).and_then(virtio_mmio)
}

/// `4K@0xd0000000:5` or `512@0xfeb00e00:12`, the form of Linux's `virtio_mmio.device`.
fn virtio_mmio(text: &str) -> Option<VirtioMmio> {
    let (size, rest) = text.split_once("@0x")?;
    let (size, unit) = match size.strip_suffix('K') {
        Some(size) => (size, 1024),
        None => (size, 1),
    };
    let (base, interrupt) = rest.split_once(':')?;
    let device = VirtioMmio {
        base: u64::from_str_radix(base, 16).ok()?,
        bytes: size.parse::<u64>().ok()?.checked_mul(unit)?,
        interrupt: interrupt.split(':').next()?.parse().ok()?,
    };
    // Between the end of the largest memory and 4 GiB, where the boot tables map devices.
    let end = device.base.checked_add(device.bytes)?;
    let devices = (u64::from(layout::MAX_MEMORY_MIB) << 20)..(4 << 30);
    let fits =
        devices.contains(&device.base) && end <= devices.end && device.bytes >= REGISTERS_BYTES;
    (fits && device.base.is_multiple_of(REGISTERS_BYTES) && device.interrupt < 24).then_some(device)
}
