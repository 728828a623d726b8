//! Port I/O: the few ports the task state's permission map (`stub.s`) opens to CPL 3.
#![expect(unsafe_code, reason = "in and out")]

use core::arch::asm;

pub(super) fn write_u8(port: u16, value: u8) {
    // SAFETY: changes a device, no memory or register the compiler knows of.
    unsafe {
        asm!("out dx, al", in("dx") port, in("al") value, options(nomem, nostack, preserves_flags))
    }
}

/// May make the VMM write to memory it shares with the kernel (the virtqueues).
pub(super) fn write_u32(port: u16, value: u32) {
    // SAFETY: changes a device; memory may change, so `nomem` is not claimed.
    unsafe {
        asm!("out dx, eax", in("dx") port, in("eax") value, options(nostack, preserves_flags))
    }
}
