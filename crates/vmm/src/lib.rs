//! The embedded VMM.
pub mod boot;
mod clock;
pub mod devices;
mod error;
mod exit;
mod kick;
pub mod memory;
pub mod mmio;
pub mod serial;
pub mod snapshot;
pub mod vm;
pub mod vsock;

pub use error::{Result, VmmError};
pub use exit::{Ending, ExitReason};
