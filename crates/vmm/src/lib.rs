//! The embedded VMM: microVMs on `/dev/kvm` and nothing else.
//!
//! One VM is one process of one thread, which knows one guest and trusts it in nothing.
//! The host starts such processes ahead ([`Launcher`], [`VmProcess::spawn`]); a blank one
//! has created its VM and locked itself in before it learns what to run, so that a boot
//! or fork only has to map memory and set registers.
//!
//! What a VM has, and what it has not:
//! - One vCPU, RAM below 3 GiB, the image at the top of it, read-only.
//! - Ports for a serial log, boot phases, idling and the end ([`devices`]).
//! - One virtio-vsock device with one stream, the *channel* ([`vsock`]).
//! - **No interrupts**, no timers, no PCI, no firmware. A guest without work writes the
//!   idle port; what arrives meanwhile ends the idling, what arrives while it computes is
//!   put into its queue for it to find. An interrupt controller would cost every VM
//!   milliseconds and memory on software KVM, and bring the guest nothing.
//!
//! A paused VM without channel is a [`Snapshot`]: state and memory. A cold boot's memory
//! is a memfd and can become a [`Template`]; a fork maps the template privately, so that
//! forks share what they do not write, and a fork's snapshot is what it wrote.
//!
//! Everything the guest controls (queues, headers, credit, ports) and everything that
//! comes from outside (states, page files, control messages) is a claim until checked:
//! decoders are total, memory is bounded, and a broken rule ends that VM alone
//! ([`ExitReason::ProtocolViolation`]). Behind that stands the [`jail`].
//!
//! ```no_run
//! use std::{fs::File, os::fd::OwnedFd};
//! use ukernel_vmm::{BootConfig, Launcher, LauncherOptions, VmProcess};
//!
//! # fn start(kernel: File, image: File, channel: OwnedFd) -> ukernel_vmm::Result<()> {
//! // The program must call `vm_main` when it finds itself started like this.
//! let program = std::env::current_exe().expect("a program");
//! let launcher = Launcher::new(LauncherOptions::new(program, ["__vm".into()]))?;
//! let mut vm = VmProcess::spawn(&launcher)?;
//! vm.boot(BootConfig {
//!     kernel: &kernel,
//!     image: Some(&image),
//!     memory_mib: 512,
//!     command_line: "",
//!     channel: Some(channel),
//! })?;
//! # Ok(())
//! # }
//! ```

mod alarm;
pub mod boot;
mod clock;
pub mod devices;
pub mod difference;
mod error;
mod exit;
mod interrupt;
pub mod jail;
mod kick;
mod kvm;
pub mod memory;
pub mod mmio;
pub mod orphan;
pub mod process;
pub mod run;
pub mod serial;
mod slots;
pub mod snapshot;
pub mod sparse;
pub mod speed;
pub mod tail;
mod template;
mod usage;
pub mod vm;
pub mod vsock;
pub mod wait;

pub use error::{Result, VmmError};
pub use exit::{Ending, ExitReason};
pub use jail::JailReport;
pub use kvm::open_kvm;
pub use process::child::vm_main;
pub use process::config::{BootConfig, ForkConfig, Snapshot, SnapshotMemory};
pub use process::host::VmProcess;
pub use process::launcher::{Launcher, LauncherOptions};
pub use process::message::{StartTimes, Stats};
pub use snapshot::state_format;
pub use template::Template;
