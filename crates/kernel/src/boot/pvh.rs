//! PVH: `struct hvm_start_info` (Xen, public/arch-x86/hvm/start_info.h, version 1).

use super::{BadBoot, Raw, memory::Physical, ram_end};

const MAGIC: u32 = 0x336e_c578;
const MAX_MEMMAP_ENTRIES: u32 = 128;

pub(super) fn read(info: u64) -> Result<Raw, BadBoot> {
    if Physical::u32(info)? != MAGIC || Physical::u32(info + 4)? < 1 {
        return Err(BadBoot::Protocol);
    }
    let modules = Physical::u32(info + 12)?;
    let module_list = Physical::u64(info + 16)?;
    let cmdline = Physical::u64(info + 24)?;
    let memmap = Physical::u64(info + 40)?;
    let entries = Physical::u32(info + 48)?.min(MAX_MEMMAP_ENTRIES);
    if modules == 0 {
        return Err(BadBoot::NoImage);
    }
    let start = Physical::u64(module_list)?;
    let bytes = Physical::u64(module_list.saturating_add(8))?;
    let mut map = [(0, 0, 0); MAX_MEMMAP_ENTRIES as usize];
    for (at, slot) in map.iter_mut().enumerate().take(entries as usize) {
        let entry = memmap.saturating_add(at as u64 * 24);
        *slot = (
            Physical::u64(entry)?,
            Physical::u64(entry.saturating_add(8))?,
            Physical::u32(entry.saturating_add(16))?,
        );
    }
    Ok(Raw {
        ram_end: ram_end(map.into_iter().take(entries as usize)),
        image: start..start.saturating_add(bytes),
        cmdline,
    })
}
