//! What differs between VMMs: how to idle, how to end, whether boot phases are wanted.
//!
//! The embedded VMM has ports for all three and no interrupt controller. Firecracker and
//! QEMU have nothing of ours: there the kernel halts until an interrupt. It ends through the
//! keyboard controller of Firecracker, and through a device of QEMU's at the embedded VMM's port.

use super::{interrupts, port, serial};
use crate::clock;
use crate::local::Local;
use ukernel_abi::layout::{
    BootPhase, GuestExit, I8042_RESET, IDLE_FOREVER_US, PORT_ALARM, PORT_EXIT, PORT_I8042,
    PORT_IDLE, PORT_PHASE, SERIAL_EXIT,
};

static EMBEDDED: Local<bool> = Local::new(false);

/// Says which kind of VMM this is.
pub(crate) fn configure(embedded: bool) {
    *EMBEDDED.get() = embedded;
}

/// Whether this is the embedded VMM.
pub(crate) fn is_embedded() -> bool {
    *EMBEDDED.get()
}

/// Reports how far the boot has come, where somebody listens.
pub(crate) fn phase(phase: BootPhase) {
    if is_embedded() {
        port::write_u32(PORT_PHASE, phase as u32);
    }
}

/// Waits until a device has something or the monotonic clock reaches `deadline_ns`.
/// May return early.
pub(crate) fn idle(deadline_ns: Option<u64>) {
    let wait_ns = deadline_ns.map(|deadline| deadline.saturating_sub(clock::monotonic_ns()));
    if wait_ns == Some(0) {
        return;
    }
    if is_embedded() {
        // Rounded up, so that a short sleep is not a busy loop.
        let us = wait_ns.map_or(IDLE_FOREVER_US, |ns| {
            u32::try_from(ns.div_ceil(1000))
                .map_or(IDLE_FOREVER_US - 1, |us| us.min(IDLE_FOREVER_US - 1))
        });
        port::write_u32(PORT_IDLE, us);
    } else {
        interrupts::halt(wait_ns);
    }
}

/// Sets the alarm, where there is one: the embedded VMM has it. Whether it is set.
pub(crate) fn set_alarm(after_ns: u64) -> bool {
    if is_embedded() {
        let us = u32::try_from(after_ns.div_ceil(1000)).unwrap_or(u32::MAX);
        port::write_u32(PORT_ALARM, us);
    }
    is_embedded()
}

/// Ends the VM. The keyboard controller's reset has no room for a reason, so it goes to the
/// serial line first, where the host's backends look for it.
pub(crate) fn exit(reason: GuestExit) -> ! {
    if !is_embedded() {
        serial::line(format_args!("{SERIAL_EXIT}{}", reason as u32));
    }
    port::write_u32(PORT_EXIT, reason as u32);
    port::write_u8(PORT_I8042, I8042_RESET);
    loop {
        crate::stub::idle();
    }
}
