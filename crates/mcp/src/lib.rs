//! ukernel for any client of the Model Context Protocol (MCP), revision 2026-07-28 and those before
//! it (specification, sections 2.4, 2.7 and 2.10.6).
//!
//! ```text
//!   stdio, http ──> server: what rmcp asks of us
//!                     │
//!                     ├─ tools      the six tools: names, schemas, descriptions
//!                     ├─ calls      what each of them does, with terraphim_rlm
//!                     ├─ sessions   handles: minted here, of one caller, unguessable
//!                     ├─ running    waiting for what runs
//!                     ├─ tasks      what runs: waited for, or asked for later; kept in files
//!                     ├─ approval   unknown terms that a person decides on
//!                     ├─ resources  long outputs, files and snapshots of sessions
//!                     └─ sampling   an older client's own model
//!
//!   upstream    the other direction: tools of other MCP servers, for code in a session
//! ```
//! A call runs as a task from the start. Its client waits a moment; what takes longer gets a task id,
//! and goes on without the client.
//!
//! What this crate refuses to do: read the environment, find a session or a task for another
//! caller than the one it belongs to, and trust anything that a client sends back.
#![forbid(unsafe_code)]

mod approval;
mod args;
mod caller;
mod calls;
mod http;
mod options;
mod replies;
mod resources;
mod running;
mod sampling;
mod server;
mod sessions;
mod stdio;
mod tasks;
mod tools;
mod upstream;

pub use caller::Caller;
pub use http::{HttpOptions, HttpServer, Tokens};
pub use options::{Open, Options};
pub use server::McpServer;
pub use tools::{reference, tools};
pub use upstream::Upstream;
