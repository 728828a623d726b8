//! Sandboxes that remember, fork and rewind.
//!
//! A [`Session`](session::Session) is an interpreter and a file tree that last: what a model
//! writes runs there, command after command. What a session *is* stands on disk, as the last
//! checkpoint; its VM is only the quickest way to go on from there, and can be lost at any
//! moment without losing the session.
//!
//! ```text
//!   Environments, Environment       the seam to those above; sessions are the first implementation
//!   ExecutionEnvironment            the specification's names, for every Environment
//!   session::SessionManager         owns what sessions are: names, checkpoints, snapshots, TTL
//!   vm::VmManager                   owns what runs: templates, the pool, health, the end of VMs
//!   engine::Engine                  kernel, image, backend, template
//! ```
//! Neither manager reaches into the other: a session asks for a VM and gives it back.
//!
//! What this crate refuses to do: retry (a crash is the caller's to hear of), share anything
//! between sessions but the template, and read the environment.
#![forbid(unsafe_code)]

pub mod backends;
pub mod config;
pub mod engine;
pub mod environment;
pub mod environments;
mod error;
pub mod guests;
pub mod name;
pub mod session;
pub mod vm;

pub use config::SandboxConfig;
pub use environment::{
    Capability, Control, ExecutionContext, ExecutionEnvironment, ExecutionResult, ExecutionStatus,
    ValidationResult,
};
pub use environments::{Environment, Environments};
pub use error::{Result, SandboxError, Standing};
pub use guests::Guest;
pub use name::{SessionId, SessionName, SnapshotId, SnapshotName};
pub use ukernel_image::ImageName;
