//! Interrupts, on VMMs with an interrupt controller: a local APIC with its timer, an I/O
//! APIC for the devices. Interrupts are off at CPL 3; the gate turns them on only to halt,
//! so they do nothing but end an idle.
#![expect(unsafe_code, reason = "APIC registers")]

use super::port;

const LAPIC: usize = 0xfee0_0000;
const LAPIC_SPURIOUS: usize = 0xf0;
const LAPIC_LVT_TIMER: usize = 0x320;
const LAPIC_LVT_LINT0: usize = 0x350;
const LAPIC_LVT_LINT1: usize = 0x360;
const LAPIC_TIMER_INITIAL: usize = 0x380;
const LAPIC_TIMER_DIVIDE: usize = 0x3e0;
const MASKED: u32 = 1 << 16;
const ENABLED: u32 = 1 << 8;
/// Divide by 16: KVM's APIC bus runs at 1 GHz, so one tick is 16 ns.
const DIVIDE_BY_16: u32 = 0b0011;
const TICK_NS: u64 = 16;

const IOAPIC_SELECT: usize = 0xfec0_0000;
const IOAPIC_WINDOW: usize = 0xfec0_0010;
const IOAPIC_REDIRECTION: u32 = 0x10;

const TIMER_VECTOR: u32 = 33;
const DEVICE_VECTOR: u32 = 34;
/// Its low four bits must be ones.
const SPURIOUS_VECTOR: u32 = 47;

/// 8259 interrupt masks, first and second controller.
const PIC_MASKS: [u16; 2] = [0x21, 0xa1];

fn write(register: usize, value: u32) {
    // SAFETY: callers name registers of the local or I/O APIC, which the boot tables map.
    unsafe { core::ptr::write_volatile(register as *mut u32, value) }
}

/// Routes `line` of the I/O APIC to this processor and turns everything else off.
pub(crate) fn configure(line: u32) {
    for mask in PIC_MASKS {
        port::write_u8(mask, 0xff);
    }
    write(LAPIC + LAPIC_LVT_LINT0, MASKED);
    write(LAPIC + LAPIC_LVT_LINT1, MASKED);
    write(LAPIC + LAPIC_TIMER_DIVIDE, DIVIDE_BY_16);
    // Before the timer: a disabled APIC keeps every entry masked (SDM volume 3, 12.4.7.2).
    write(LAPIC + LAPIC_SPURIOUS, ENABLED | SPURIOUS_VECTOR);
    write(LAPIC + LAPIC_LVT_TIMER, TIMER_VECTOR);
    write(IOAPIC_SELECT, IOAPIC_REDIRECTION + 2 * line);
    write(IOAPIC_WINDOW, DEVICE_VECTOR);
    write(IOAPIC_SELECT, IOAPIC_REDIRECTION + 2 * line + 1);
    write(IOAPIC_WINDOW, 0);
}

/// Halts until an interrupt, at most `wait_ns`.
pub(crate) fn halt(wait_ns: Option<u64>) {
    let ticks = wait_ns.map_or(0, |ns| {
        u32::try_from(ns.div_ceil(TICK_NS)).unwrap_or(u32::MAX)
    });
    write(LAPIC + LAPIC_TIMER_INITIAL, ticks);
    crate::stub::idle();
}
