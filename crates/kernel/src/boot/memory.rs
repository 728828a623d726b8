//! Reads of boot information from low memory, before page 0 is unmapped.
#![expect(unsafe_code, reason = "boot information lies at physical addresses")]

use super::{BadBoot, utf8};
use alloc::{string::String, vec::Vec};

/// Boot information lies below the kernel, in the first 2 MiB, which are identity mapped
/// until the page tables are sealed.
const LIMIT: u64 = 2 << 20;

/// Checked access to low physical memory.
pub(super) struct Physical;

impl Physical {
    /// Copies `N` bytes.
    pub(super) fn bytes<const N: usize>(address: u64) -> Result<[u8; N], BadBoot> {
        let end = address.checked_add(N as u64).ok_or(BadBoot::OutOfRange)?;
        if address == 0 || end > LIMIT {
            return Err(BadBoot::OutOfRange);
        }
        let mut bytes = [0; N];
        for (at, byte) in bytes.iter_mut().enumerate() {
            // SAFETY: inside the identity-mapped first 2 MiB (checked above), which no Rust
            // object lives in; volatile because the VMM wrote it.
            *byte = unsafe { core::ptr::read_volatile((address as usize + at) as *const u8) };
        }
        Ok(bytes)
    }

    pub(super) fn u32(address: u64) -> Result<u32, BadBoot> {
        Self::bytes(address).map(u32::from_le_bytes)
    }

    pub(super) fn u64(address: u64) -> Result<u64, BadBoot> {
        Self::bytes(address).map(u64::from_le_bytes)
    }

    /// A string that ends with a zero byte.
    pub(super) fn string(address: u64, max_bytes: usize) -> Result<String, BadBoot> {
        let mut text = Vec::new();
        for at in 0..max_bytes as u64 {
            match Self::bytes::<1>(address.saturating_add(at))? {
                [0] => return utf8(text),
                [byte] => text.push(byte),
            }
        }
        Err(BadBoot::OutOfRange)
    }
}
