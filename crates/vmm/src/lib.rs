//! The embedded VMM.
pub mod boot;
mod clock;
pub mod devices;
mod error;
mod exit;
pub mod jail;
mod kick;
mod kvm;
pub mod memory;
pub mod mmio;
pub mod process;
pub mod run;
pub mod serial;
pub mod snapshot;
mod template;
mod usage;
pub mod vm;
pub mod vsock;

pub use error::{Result, VmmError};
pub use exit::{Ending, ExitReason};
pub use process::child::vm_main;
pub use process::host::{BootConfig, ForkConfig, Snapshot, SnapshotMemory, VmProcess};
pub use process::launcher::{Launcher, LauncherOptions};
pub use process::message::{StartTimes, Stats};
pub use template::Template;
