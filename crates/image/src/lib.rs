//! From sources to what a VM boots.
//!
//! [`Images`] gives the µkernel and the image of the language [`adapter`], building what the [`store`] does not
//! have. A build is a pure function of its inputs: the key of an entry is the digest of
//! everything it was made from, and building twice gives the same bytes.
//!
//! What this crate refuses to do: read the environment, use an entry whose digest is wrong,
//! or leave half an entry behind.
#![deny(unsafe_code)]

mod adapter;
mod aot;
mod componentize;
mod cpython;
mod error;
mod images;
mod inputs;
mod kernel;
mod linux;
pub mod store;
mod tool;

pub use adapter::{Adapter, adapter};
pub use error::{ImageError, Result};
pub use images::{Artifact, Images, LinuxImage};
pub use linux::dockerfile::{
    Dockerfile, MAX_BYTES as MAX_DOCKERFILE_BYTES, read as read_dockerfile,
};
pub use linux::lock::MAX_LOCK_BYTES;
pub use linux::name::{BASE as BASE_IMAGE, ImageName};
pub use linux::recipe::Recipe;

/// Hears how a build goes on.
pub trait Progress: Sync {
    /// A step begins.
    fn step(&self, text: &str);
}

/// For callers who do not want to hear.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn step(&self, _: &str) {}
}
