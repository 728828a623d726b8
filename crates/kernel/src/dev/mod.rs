//! Devices: what the platform offers beside memory.

mod handshake;
pub(crate) mod interrupts;
pub(crate) mod platform;
mod port;
pub(crate) mod serial;
pub(crate) mod vsock;
