//! Host calls of programs: any program of an execution may ask the host, not only the lasting Python.
//!
//! ```text
//!   bash ── query_llm ──┐  UNIX socket          channel
//!   python3 other.py ───┴────────────> agent ───────────> host
//! ```
//! Who calls says for which execution; its token stays with the agent.

use crate::execution::Running;
use crate::message;
use crate::port::Port;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{Error, Result, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Where the agent listens.
pub const SOCKET: &str = "/run/ukernel/calls";
/// The variable that says which execution a program belongs to.
pub const EXECUTION: &str = "UKERNEL_EXECUTION";
/// Connections at once. One more is closed unheard.
const MAX_CONNECTIONS: usize = 64;
/// How long a program may take to say what it wants, and to take the answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// Stack of the thread of a connection, in bytes.
const STACK_BYTES: usize = 128 << 10;

/// The header of a call.
#[derive(Serialize, Deserialize)]
pub struct Request {
    /// What for.
    pub call: String,
    /// From [`EXECUTION`].
    pub execution: u32,
}

/// The header of an answer. The bytes after it are the result, or say in UTF-8 why there is none.
#[derive(Serialize, Deserialize)]
pub struct Reply {
    /// Whether there is one.
    pub is_result: bool,
}

/// A call that has come, its payload not yet read.
pub struct Call {
    stream: UnixStream,
    name: String,
    /// Which execution it belongs to.
    pub execution: u32,
    bytes: usize,
}

impl Call {
    fn read(stream: UnixStream) -> Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let (header, bytes) = message::read_header(&stream)?;
        let request: Request = serde_json::from_slice(&header)?;
        Ok(Self {
            stream,
            name: request.call,
            execution: request.execution,
            bytes,
        })
    }

    /// Makes it on behalf of its execution and gives the answer back.
    pub fn make(self, running: &Running, port: &Port) -> Result<()> {
        let payload = || message::read(&self.stream, self.bytes);
        let (is_result, bytes) = running.call_for_program(port, self.name, self.bytes, payload)?;
        reply(&self.stream, is_result, &bytes)
    }

    /// Says why not.
    pub fn refuse(self, reason: &str) -> Result<()> {
        reply(&self.stream, false, reason.as_bytes())
    }
}

fn reply(mut stream: &UnixStream, is_result: bool, bytes: &[u8]) -> Result<()> {
    let header = serde_json::to_vec(&Reply { is_result })?;
    stream.write_all(&message::lengths(&header, bytes)?)?;
    stream.write_all(&header)?;
    stream.write_all(bytes)
}

/// Takes calls from now on, each on a thread of its own.
pub fn serve(answer: impl Fn(Call) -> Result<()> + Send + Sync + 'static) -> Result<()> {
    let listener = UnixListener::bind(SOCKET)?;
    fs::set_permissions(SOCKET, fs::Permissions::from_mode(0o666))?;
    let answer = Arc::new(answer);
    let open = Arc::new(AtomicUsize::new(0));
    let accept = move || {
        for stream in listener.incoming().flatten() {
            if open.fetch_add(1, Ordering::AcqRel) >= MAX_CONNECTIONS {
                open.fetch_sub(1, Ordering::AcqRel);
                continue;
            }
            let (own, answer) = (Arc::clone(&open), Arc::clone(&answer));
            let take = move || {
                // Whoever breaks off its own call has nobody who would hear of it.
                let _ = Call::read(stream).and_then(|call| answer(call));
                own.fetch_sub(1, Ordering::AcqRel);
            };
            if spawn(take).is_err() {
                open.fetch_sub(1, Ordering::AcqRel);
            }
        }
    };
    spawn(accept)
}

fn spawn(run: impl FnOnce() + Send + 'static) -> Result<()> {
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
    thread.spawn(run).map(drop)
}

/// Calls the host, as a program of an execution.
pub fn call(name: &str, payload: &[u8]) -> Result<Vec<u8>> {
    let execution = std::env::var(EXECUTION).ok();
    let execution = execution.and_then(|number| number.parse().ok());
    let request = Request {
        call: name.to_owned(),
        execution: execution.ok_or_else(|| Error::other("this is no part of an execution"))?,
    };
    let header = serde_json::to_vec(&request)?;
    let mut stream = UnixStream::connect(SOCKET)?;
    // A refusal comes before all is taken.
    let _ = stream
        .write_all(&message::lengths(&header, payload)?)
        .and_then(|()| stream.write_all(&header))
        .and_then(|()| stream.write_all(payload));
    let (header, length) = message::read_header(&stream)
        .map_err(|_| Error::other("the agent does not answer: too many calls at once"))?;
    let reply: Reply = serde_json::from_slice(&header)?;
    let bytes = message::read(&stream, length)?;
    if reply.is_result {
        return Ok(bytes);
    }
    Err(Error::other(String::from_utf8_lossy(&bytes).into_owned()))
}
