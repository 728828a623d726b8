//! The wasmtime settings an ahead-of-time image is bound to.
//!
//! The host compiles with them, the µkernel loads with them; wasmtime refuses an image
//! whose settings differ. Both sides read these constants so that they cannot drift.

/// Exact wasmtime release on both sides: images do not load across releases.
pub const WASMTIME_VERSION: &str = "48.0.8";

/// Target triple images are compiled for.
pub const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Address space set aside for each linear memory, in bytes: all of wasm32, so that a
/// 32-bit index cannot leave it and most bounds checks disappear.
pub const MEMORY_RESERVATION_BYTES: u64 = 4 << 30;

/// Unmapped bytes behind the reservation, which catch static offsets.
pub const MEMORY_GUARD_BYTES: u64 = 32 << 20;

/// Most stack an image may ask for, in bytes: what the kernel's tasks have.
pub const MAX_STACK_BYTES: u32 = 32 << 20;

/// Cranelift CPU features images are compiled for, beyond the x86-64 baseline.
/// This is x86-64-v2, which every host of the last decade has.
pub const CPU_FEATURES: [&str; 5] = [
    "has_sse3",
    "has_ssse3",
    "has_sse41",
    "has_sse42",
    "has_popcnt",
];
