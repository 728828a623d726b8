//! The frequency of the time-stamp counter the guest sees.

use kvm_ioctls::VcpuFd;
use std::time::{Duration, Instant};

/// How long the counter is watched where KVM does not know its frequency.
const WATCH: Duration = Duration::from_millis(5);

/// Frequency of the time-stamp counter, in kHz: what KVM says, else measured.
pub(crate) fn tsc_khz(vcpu: &VcpuFd) -> u32 {
    match vcpu.get_tsc_khz() {
        Ok(khz) if khz > 0 => khz,
        _ => measure(),
    }
}

fn measure() -> u32 {
    let start = Instant::now();
    let from = read();
    while start.elapsed() < WATCH {
        std::hint::spin_loop();
    }
    let ticks = u128::from(read().wrapping_sub(from));
    let nanoseconds = start.elapsed().as_nanos().max(1);
    u32::try_from(ticks * 1_000_000 / nanoseconds).unwrap_or(u32::MAX)
}

fn read() -> u64 {
    // SAFETY: every x86-64 processor has the instruction, and user mode may use it.
    unsafe { core::arch::x86_64::_rdtsc() }
}
