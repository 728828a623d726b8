//! The daemon that keeps sessions, and how commands reach it.
//!
//! ```text
//!   ukernel session ...  ──connect──>  <state>/daemon/socket  (0600, peer credentials)
//!        │ nobody there                       │
//!        └──start `ukernel serve`, wait       └ one request, its answers, the end
//! ```

pub mod client;
mod connection;
pub mod place;
pub mod protocol;
mod requests;
pub mod serve;
