//! What host and guest say to each other on the channel.
//!
//! ```text
//!   host                                guest
//!    | -- Hello{version} --------------> |
//!    | <------------- Hello{version} --- |   versions differ: the host closes
//!    | -- Resume{entropy, clock, id} --> |   before anything runs, on every connection
//!    | <--------------------- Ready ---- |
//!    | -- Exec{id} --------------------> |
//!    | <-- Output{id} ... Done{id} ----- |   one execution at a time
//!    | <-- Call{id}, CallPart ... ------ |   an execution asks the host for something
//!    | -- Answer, AnswerPart ... ------> |
//!    | -- Cancel / File* / Ping -------> |   answered at any time the guest is not busy
//! ```
//! A fork or a restore is a new connection: it starts again with `Hello` and `Resume`.

use alloc::{string::String, vec::Vec};
use serde::{Deserialize, Serialize};

/// Version of this protocol. Guest and host must have the same.
pub const PROTOCOL_VERSION: u16 = 3;

/// Largest chunk of file or output bytes in one message.
pub const MAX_CHUNK_BYTES: usize = 256 << 10;

/// Longest source given inline with [`HostMessage::Exec`]; longer sources go through a file.
pub const MAX_INLINE_SOURCE_BYTES: usize = MAX_CHUNK_BYTES;

/// Longest payload of a host call, and longest answer, in bytes. They cross in parts.
pub const MAX_CALL_BYTES: usize = 16 << 20;

/// Most host calls of one VM that wait for their answers.
pub const MAX_PENDING_CALLS: usize = 16;

/// Longest name of a host call, in bytes.
pub const MAX_CALL_NAME_BYTES: usize = 64;

/// What a session's executions show with every host call. Nobody can guess it.
pub type SessionToken = [u8; 32];

/// Longest path in the guest's file tree, in bytes.
pub const MAX_PATH_BYTES: usize = 4096;

/// From the host to the guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostMessage {
    /// Opens every connection.
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
        /// Chosen by the host; output and result carry it.
        id: u32,
        /// What to run.
        source: Source,
        /// File name shown in tracebacks.
        name: String,
        /// `sys.argv[1..]` and its like in other languages.
        args: Vec<String>,
        /// How it is run.
        mode: Mode,
        /// Bytes of each output stream that are sent. A stream that writes more goes to a
        /// file of the tree, whole, which [`GuestMessage::Done`] names.
        inline_output_bytes: u64,
        /// What its host calls show; without one they are refused in the guest. The kernel
        /// keeps it, programs never see it.
        token: Option<SessionToken>,
    },
    /// Begins the answer to [`GuestMessage::Call`]. One that nobody waits for is ignored.
    Answer {
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
        /// From the call.
        call: u32,
        /// What follows.
        bytes: Vec<u8>,
    },
    /// Ends execution `id` with an interrupt (KeyboardInterrupt); state is kept.
    Cancel {
        /// The execution to end. One that is not running is ignored.
        id: u32,
    },
    /// Writes part of a file, creating it and its folders.
    FileWrite {
        /// Chosen by the host; the answer carries it.
        request: u32,
        /// Absolute path.
        path: String,
        /// Where the bytes go.
        offset: u64,
        /// Whether the file is emptied first.
        truncate: bool,
        /// At most [`MAX_CHUNK_BYTES`].
        bytes: Vec<u8>,
    },
    /// Reads part of a file.
    FileRead {
        /// Chosen by the host; the answer carries it.
        request: u32,
        /// Absolute path.
        path: String,
        /// Where to start.
        offset: u64,
        /// Most bytes wanted, at most [`MAX_CHUNK_BYTES`].
        max_bytes: u32,
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

/// How code is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// As a program.
    Program,
    /// As at a prompt: the value of a last expression is wanted.
    Prompt,
    /// As commands of the guest's shell, over the same files.
    Shell,
}

/// A stream of an execution that wrote more than was to be sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpilledOutput {
    /// Which.
    pub stream: Stream,
    /// The file that holds all of it.
    pub path: String,
    /// Bytes the execution wrote. The file has fewer if the tree's quota was used up.
    pub bytes: u64,
    /// Bytes that are in the file.
    pub kept_bytes: u64,
}

/// Where the code of an execution is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// In the message, at most [`MAX_INLINE_SOURCE_BYTES`].
    Inline(Vec<u8>),
    /// In the guest's file tree, at this absolute path.
    File(String),
}

/// From the guest to the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GuestMessage {
    /// Answers [`HostMessage::Hello`].
    Hello {
        /// [`PROTOCOL_VERSION`] of the guest.
        version: u16,
        /// What runs there, for people: `ukernel/0.1.0 python`.
        guest: String,
    },
    /// Answers [`HostMessage::Resume`]: the runtime is initialised and individual.
    Ready,
    /// A piece of output.
    Output {
        /// The execution that wrote it.
        id: u32,
        /// Where it was written.
        stream: Stream,
        /// At most [`MAX_CHUNK_BYTES`]; any bytes, UTF-8 or not.
        bytes: Vec<u8>,
    },
    /// An execution ended.
    Done {
        /// Which one.
        id: u32,
        /// How.
        outcome: Outcome,
        /// Output that was too long to be sent, at most one file for each stream.
        spilled: Vec<SpilledOutput>,
    },
    /// An execution asks the host for something and waits.
    Call {
        /// The execution.
        id: u32,
        /// Chosen by the guest, never twice on one connection; the answer carries it.
        call: u32,
        /// From [`HostMessage::Exec`].
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
        /// Which call.
        call: u32,
        /// What follows.
        bytes: Vec<u8>,
    },
    /// Something a workload logged through the ABI.
    Log {
        /// How serious.
        level: LogLevel,
        /// What it said.
        message: String,
    },
    /// A span or event a workload traced through the ABI.
    Trace {
        /// Guest's monotonic clock, nanoseconds.
        at_ns: u64,
        /// What happened.
        record: TraceRecord,
    },
    /// Answers [`HostMessage::FileWrite`].
    FileWritten {
        /// From the request.
        request: u32,
        /// Length of the file after the write, in bytes.
        result: Result<u64, FileError>,
    },
    /// Answers [`HostMessage::FileRead`].
    FileContent {
        /// From the request.
        request: u32,
        /// The bytes; fewer than asked for at the end of the file, none past it.
        result: Result<Vec<u8>, FileError>,
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

/// How an execution ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Ran to its end or called exit.
    Exited {
        /// 0, or what `sys.exit` was given.
        code: i32,
        /// Printed form of the last expression, when at a prompt and not `None`.
        value: Option<String>,
    },
    /// An exception nobody caught. The traceback went to standard error.
    Exception {
        /// Type of the exception.
        kind: String,
        /// Its message.
        message: String,
    },
    /// Cancelled; state is kept.
    Interrupted,
    /// The runtime itself trapped: its state is lost, the VM must not be used again.
    Trapped {
        /// What wasmtime reported.
        reason: String,
    },
}

/// Why a file could not be read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum FileError {
    /// No file there.
    #[error("no such file or folder")]
    NotFound,
    /// A folder where a file was wanted.
    #[error("is a folder")]
    IsDirectory,
    /// A file where a folder was wanted.
    #[error("not a folder")]
    NotDirectory,
    /// Relative, empty, too long or with `..` above the root.
    #[error("not a usable path")]
    BadPath,
    /// The file tree's quota is used up.
    #[error("file-tree quota used up")]
    QuotaExceeded,
    /// Read-only place.
    #[error("read-only")]
    ReadOnly,
}
