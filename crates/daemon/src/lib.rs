//! The daemon: the one process of a user that holds sessions, and how commands reach it.
//!
//! ```text
//!   Client::connect ──────────────>  <state>/daemon/socket  (0600, peer credentials)
//!        │ nobody serves                     │
//!        └── Client::start, wait             └ one request, its answers, the end
//! ```
//! [`Place`] is where it is found, [`protocol`] what is said, [`Client`] one end of it and
//! [`Server`] the other.
//!
//! What this crate refuses to do: read the environment, print what commands print, and decide
//! what a failure means for a user. It says which [`protocol::FailureKind`] it was.
#![forbid(unsafe_code)]

mod client;
mod connection;
mod error;
mod place;
pub mod protocol;
mod requests;
mod server;
mod transfer;

pub use client::{Client, Input};
pub use error::{DaemonError, Result};
pub use place::Place;
pub use server::Server;
