//! What host and guest say to each other on the channel.
//!
//! ```text
//!   host                                guest
//!    | -- Hello{version} --------------> |
//!    | <------------- Hello{version} --- |   versions differ: the host closes
//!    | -- Resume{entropy, clock, id} --> |   before anything runs, on every connection
//!    | <------------ Ready{capacity} --- |   how many executions it can run at once
//!    | -- Exec{id}, ExecPart ... ------> |
//!    | <-- InputRoom{id} --------------- |   the program reads; so much may be sent
//!    | -- Input{id} ... InputEnd{id} --> |
//!    | <-- Output{id} ... Done{id} ----- |   executions overlap, each with its number
//!    | -- OutputRoom{id} --------------> |   so much more may be sent
//!    | <-- Call{id}, CallPart ... ------ |   an execution asks the host for something
//!    | -- Answer, AnswerPart ... ------> |
//!    | -- Signal / File / Ping --------> |   answered at any time the guest is not busy
//! ```
//! A fork or a restore is a new connection: it starts again with `Hello` and `Resume`.
//!
//! # Flow control
//! A stream nobody reads must not stop the others, so each execution has windows of its own. Its
//! input begins with no room: [`GuestMessage::InputRoom`] grants bytes when the program reads. What
//! it says begins with room for [`OUTPUT_WINDOW_BYTES`], counted by [`GuestMessage::weight`];
//! [`HostMessage::OutputRoom`] grants more as the host hands it on. A peer that sends what it has
//! no room for is hostile.

pub use crate::exec::{
    Exec, MAX_SOURCE_BYTES, Mode, Outcome, Refusal, SessionToken, Signal, SpilledOutput,
    TerminalSize,
};
pub use crate::file::{
    FileEntry, FileError, FileKind, FileOp, FileReply, FileStatus, MAX_ENTRIES, MAX_PATH_BYTES,
};
use alloc::{string::String, vec::Vec};
use serde::{Deserialize, Serialize};

/// Version of this protocol. Guest and host must have the same.
pub const PROTOCOL_VERSION: u16 = 4;

/// Largest chunk of file, input or output bytes in one message.
pub const MAX_CHUNK_BYTES: usize = 256 << 10;

/// What an execution may say before the host has granted more, in bytes.
pub const OUTPUT_WINDOW_BYTES: u64 = 1 << 20;

/// Most bytes of input a guest grants at once.
pub const INPUT_WINDOW_BYTES: u64 = 256 << 10;

/// Longest payload of a host call, and longest answer, in bytes. They cross in parts.
pub const MAX_CALL_BYTES: usize = 16 << 20;

/// Most host calls of one execution that wait for their answers.
pub const MAX_PENDING_CALLS: usize = 16;

/// Most bytes of the payloads of calls that wait, together; and of their answers, together.
pub const MAX_PENDING_CALL_BYTES: usize = 64 << 20;

/// Longest name of a host call, in bytes.
pub const MAX_CALL_NAME_BYTES: usize = 64;

/// What a log line or a trace record weighs beside its text, in bytes.
const RECORD_BYTES: u64 = 64;

/// From the host to the guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostMessage {
    /// Opens every connection. Stays the first variant in every version, so that versions can
    /// refuse each other by name.
    Hello {
        /// [`PROTOCOL_VERSION`] of the host.
        version: u16,
    },
    /// Makes this VM an individual: clones are twins until they have had one.
    Resume {
        /// Seed for the guest's random numbers.
        entropy: [u8; 32],
        /// Wall clock, nanoseconds since 1970-01-01 UTC.
        wall_clock_ns: u64,
        /// Identity of this VM. The same as before: only the connection is new, not the VM,
        /// and what programs can see of randomness stays as it is.
        instance: [u8; 16],
        /// What this VM may use from now on.
        limits: Limits,
    },
    /// Runs code.
    Exec {
        /// Chosen by the host, never twice on one connection; all that concerns it carries it.
        id: u32,
        /// What to run; its source may be only the beginning.
        exec: Exec,
        /// Length of the whole source, at most [`MAX_SOURCE_BYTES`].
        source_bytes: u64,
    },
    /// Goes on with the source of an execution.
    ExecPart {
        /// Which.
        id: u32,
        /// What follows.
        bytes: Vec<u8>,
    },
    /// Standard input of an execution.
    Input {
        /// Which. One that has ended is ignored.
        id: u32,
        /// At most [`MAX_CHUNK_BYTES`] and what there is room for.
        bytes: Vec<u8>,
    },
    /// The end of standard input.
    InputEnd {
        /// Of which execution.
        id: u32,
    },
    /// Room for more output of an execution.
    OutputRoom {
        /// Which. One that has ended is ignored.
        id: u32,
        /// By how much it grows, in bytes.
        bytes: u64,
    },
    /// Says something to an execution; answered by [`GuestMessage::Signalled`].
    Signal {
        /// Which. One that has ended is ignored.
        id: u32,
        /// What.
        signal: Signal,
    },
    /// The terminal of an execution has another size.
    Resize {
        /// Which execution.
        id: u32,
        /// The size.
        size: TerminalSize,
    },
    /// Begins the answer to [`GuestMessage::Call`]. One that nobody waits for is ignored.
    Answer {
        /// The execution that called.
        id: u32,
        /// From the call.
        call: u32,
        /// Whether the bytes are a result, else UTF-8 text that says why there is none.
        is_result: bool,
        /// Length of the whole answer, at most [`MAX_CALL_BYTES`].
        length: u64,
        /// Its beginning.
        bytes: Vec<u8>,
    },
    /// Goes on with an answer.
    AnswerPart {
        /// The execution that called.
        id: u32,
        /// From the call.
        call: u32,
        /// What follows.
        bytes: Vec<u8>,
    },
    /// Does something with files; answered by [`GuestMessage::File`].
    File {
        /// Chosen by the host; the answer carries it.
        request: u32,
        /// What.
        op: FileOp,
    },
    /// Asks for a sign of life.
    Ping {
        /// Comes back in [`GuestMessage::Pong`].
        nonce: u64,
    },
}

/// What a VM may use. The host sets it; a guest that ignores it meets the VM's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// What the file tree may hold at first, in bytes. It doubles when it is full.
    pub files_bytes: u64,
    /// What it may grow to, in bytes.
    pub max_files_bytes: u64,
    /// Linear memory of all tasks together, in bytes.
    pub memory_bytes: u64,
    /// Tasks alive at once, the first one included.
    pub tasks: u32,
}

impl Limits {
    /// No limit but the VM's memory.
    pub const NONE: Self = Self {
        files_bytes: u64::MAX,
        max_files_bytes: u64::MAX,
        memory_bytes: u64::MAX,
        tasks: u32::MAX,
    };
}

/// From the guest to the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GuestMessage {
    /// Answers [`HostMessage::Hello`]. Keeps its form in every version, as that does.
    Hello {
        /// [`PROTOCOL_VERSION`] of the guest.
        version: u16,
        /// What runs there, for people: `ukernel/0.1.0 python`.
        guest: String,
    },
    /// Answers [`HostMessage::Resume`]: the runtime is initialised and individual.
    Ready {
        /// Executions it can run at once, at least one.
        capacity: u32,
    },
    /// A piece of output.
    Output {
        /// The execution that wrote it.
        id: u32,
        /// Where it was written.
        stream: Stream,
        /// At most [`MAX_CHUNK_BYTES`]; any bytes, UTF-8 or not.
        bytes: Vec<u8>,
    },
    /// An execution ended, or never began.
    Done {
        /// Which one.
        id: u32,
        /// How.
        outcome: Outcome,
        /// Output that was too long to be sent, at most one file for each stream.
        spilled: Vec<SpilledOutput>,
    },
    /// Room for more input of an execution, which reads.
    InputRoom {
        /// Which.
        id: u32,
        /// By how much it grows, in bytes; at most [`INPUT_WINDOW_BYTES`] are outstanding.
        bytes: u64,
    },
    /// A signal has reached the program it was for, or cannot.
    Signalled {
        /// Which execution.
        id: u32,
        /// Which signal.
        signal: Signal,
        /// Whether this guest knows such signals.
        is_supported: bool,
    },
    /// An execution asks the host for something and waits.
    Call {
        /// The execution.
        id: u32,
        /// Chosen by the guest, never twice in one execution; the answer carries it.
        call: u32,
        /// From [`Exec::token`].
        token: SessionToken,
        /// What it asks for.
        name: String,
        /// Length of the whole payload, at most [`MAX_CALL_BYTES`].
        length: u64,
        /// Its beginning.
        bytes: Vec<u8>,
    },
    /// Goes on with the payload of a call.
    CallPart {
        /// The execution.
        id: u32,
        /// Which call.
        call: u32,
        /// What follows.
        bytes: Vec<u8>,
    },
    /// Something a workload logged through the ABI.
    Log {
        /// The execution it ran in.
        id: u32,
        /// How serious.
        level: LogLevel,
        /// What it said.
        message: String,
    },
    /// A span or event a workload traced through the ABI.
    Trace {
        /// The execution it ran in.
        id: u32,
        /// Guest's monotonic clock, nanoseconds.
        at_ns: u64,
        /// What happened.
        record: TraceRecord,
    },
    /// Answers [`HostMessage::File`].
    File {
        /// From the request.
        request: u32,
        /// What came of it.
        result: Result<FileReply, FileError>,
    },
    /// Answers [`HostMessage::Ping`].
    Pong {
        /// From the ping.
        nonce: u64,
    },
    /// The host's message could not be followed; the connection stays usable.
    Refused {
        /// Why.
        reason: String,
    },
}

impl GuestMessage {
    /// The execution whose output window this message takes from, and by how many bytes. `None`:
    /// it takes from none.
    #[must_use]
    pub fn weight(&self) -> Option<(u32, u64)> {
        match self {
            Self::Output { id, bytes, .. } => Some((*id, bytes.len() as u64)),
            Self::Log { id, message, .. } => Some((*id, RECORD_BYTES + message.len() as u64)),
            Self::Trace { id, record, .. } => {
                let text = match record {
                    TraceRecord::SpanBegin { name, .. } => name.len(),
                    TraceRecord::SpanEnd { .. } => 0,
                    TraceRecord::Event { name, detail, .. } => name.len() + detail.len(),
                };
                Some((*id, RECORD_BYTES + text as u64))
            }
            _ => None,
        }
    }
}

/// Standard output or standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Severity of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum LogLevel {
    /// Of interest when looking for a fault.
    Debug,
    /// Worth knowing.
    Info,
    /// Unexpected, survived.
    Warn,
    /// Something failed.
    Error,
}

/// One entry of a workload's trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TraceRecord {
    /// A span opened.
    SpanBegin {
        /// Unique in this VM.
        span: u64,
        /// The span it stands in.
        parent: Option<u64>,
        /// What it is called.
        name: String,
    },
    /// A span closed.
    SpanEnd {
        /// From [`TraceRecord::SpanBegin`].
        span: u64,
    },
    /// Something happened at one moment.
    Event {
        /// The span it happened in.
        span: Option<u64>,
        /// What it is called.
        name: String,
        /// Details.
        detail: String,
    },
}
