//! The Linux 64-bit boot protocol: `struct boot_params`, the "zero page"
//! (Linux, Documentation/arch/x86/zero-page.rst).

use super::{BadBoot, Raw, memory::Physical, ram_end};

const E820_ENTRIES: u64 = 0x1e8;
const E820_TABLE: u64 = 0x2d0;
const MAX_E820_ENTRIES: usize = 128;
const RAMDISK_IMAGE: u64 = 0x218;
const RAMDISK_SIZE: u64 = 0x21c;
const CMD_LINE_PTR: u64 = 0x228;

pub(super) fn read(info: u64) -> Result<Raw, BadBoot> {
    let [entries] = Physical::bytes::<1>(info + E820_ENTRIES)?;
    let entries = usize::from(entries).min(MAX_E820_ENTRIES);
    let mut map = [(0, 0, 0); MAX_E820_ENTRIES];
    for (at, slot) in map.iter_mut().enumerate().take(entries) {
        let entry = info + E820_TABLE + at as u64 * 20;
        *slot = (
            Physical::u64(entry)?,
            Physical::u64(entry + 8)?,
            Physical::u32(entry + 16)?,
        );
    }
    let start = u64::from(Physical::u32(info + RAMDISK_IMAGE)?);
    let bytes = u64::from(Physical::u32(info + RAMDISK_SIZE)?);
    Ok(Raw {
        ram_end: ram_end(map.into_iter().take(entries)),
        image: start..start + bytes,
        cmdline: u64::from(Physical::u32(info + CMD_LINE_PTR)?),
    })
}
