//! Devices: what the platform offers beside memory.

mod console;
mod hal;
mod handshake;
pub(crate) mod interrupts;
pub(crate) mod link;
pub(crate) mod platform;
mod port;
pub(crate) mod serial;
mod vsock;
