//! Monotonic and wall time from the time-stamp counter.
//!
//! A clone's counter may stand anywhere, so the monotonic clock is re-anchored on every
//! resume: it goes on from where the template stood and never jumps.
#![expect(unsafe_code, reason = "rdtsc")]

use crate::local::Local;

struct Clock {
    tsc_khz: u64,
    anchor_tsc: u64,
    anchor_ns: u64,
    /// The latest moment anybody was told.
    latest_ns: u64,
    /// Wall clock minus monotonic clock, nanoseconds.
    wall_offset_ns: u64,
}

static CLOCK: Local<Clock> = Local::new(Clock {
    tsc_khz: 1_000_000,
    anchor_tsc: 0,
    anchor_ns: 0,
    latest_ns: 0,
    wall_offset_ns: 0,
});

fn tsc() -> u64 {
    // SAFETY: reads a counter; the boot code leaves it readable at CPL 3.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Starts the monotonic clock at zero.
pub(crate) fn configure(tsc_khz: u64) {
    let mut clock = CLOCK.get();
    clock.tsc_khz = tsc_khz;
    clock.anchor_tsc = tsc();
}

/// Nanoseconds since this VM (or the template it was forked from) started.
pub(crate) fn monotonic_ns() -> u64 {
    let mut clock = CLOCK.get();
    let elapsed = u128::from(tsc().saturating_sub(clock.anchor_tsc));
    let ns = elapsed * 1_000_000 / u128::from(clock.tsc_khz);
    let now = clock
        .anchor_ns
        .saturating_add(u64::try_from(ns).unwrap_or(u64::MAX));
    clock.latest_ns = clock.latest_ns.max(now);
    clock.latest_ns
}

/// Nanoseconds since 1970-01-01 UTC, as far as the host has said.
pub(crate) fn wall_ns() -> u64 {
    let monotonic = monotonic_ns();
    monotonic.saturating_add(CLOCK.get().wall_offset_ns)
}

/// Takes the host's wall clock; the monotonic clock goes on from the latest moment told.
pub(crate) fn resume(wall_clock_ns: u64) {
    let mut clock = CLOCK.get();
    clock.anchor_tsc = tsc();
    clock.anchor_ns = clock.latest_ns;
    clock.wall_offset_ns = wall_clock_ns.saturating_sub(clock.latest_ns);
}
