//! The µkernel cannot be linked into a test: it has no standard library and is its own
//! machine. What of it is plain logic is compiled here a second time, from the same files,
//! and put through random sequences.
#![cfg(test)]

extern crate alloc;

#[path = "../../kernel/src/boot/cmdline.rs"]
mod cmdline;

/// Stands in for the kernel's clock.
mod clock {
    pub(crate) fn wall_ns() -> u64 {
        1
    }
}

#[path = "../../kernel/src/local.rs"]
#[allow(dead_code, reason = "only the type is needed")]
mod local;

#[path = "../../kernel/src/files/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "the kernel uses all of it, the tests most"
)]
mod files;

/// Stands in for the kernel's memory, of which a test has enough.
mod mem {
    pub(crate) fn sparing<R>(allocate: impl FnOnce() -> R) -> R {
        allocate()
    }
}

#[path = "../../kernel/src/output/spool.rs"]
mod spool;

mod command_line;
mod output;
mod tree;
