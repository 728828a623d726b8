//! One execution: how it is asked for, what it may use, how it ended.
//!
//! [`Exec`] is the only shape in which an execution is asked for, from the doors down to the guest.

use crate::message::Stream;
use alloc::{string::String, vec::Vec};
use serde::{Deserialize, Serialize};

/// Longest source, in bytes.
pub const MAX_SOURCE_BYTES: usize = 64 << 20;

/// What a session's executions show with every host call. Nobody can guess it.
pub type SessionToken = [u8; 32];

/// Code to run, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exec {
    /// The source, in the encoding its language says; at most [`MAX_SOURCE_BYTES`].
    pub source: Vec<u8>,
    /// File name shown in tracebacks.
    pub name: String,
    /// `sys.argv[1..]` and its like in other languages.
    pub args: Vec<String>,
    /// How it is run.
    pub mode: Mode,
    /// Variables added to the guest's own environment for this execution.
    pub environment: Vec<(String, String)>,
    /// Working folder, an absolute path; `None`: where the execution before left it.
    pub folder: Option<String>,
    /// User it runs as; `None`: the guest's own choice.
    pub user: Option<String>,
    /// The terminal it is attached to; `None`: pipes.
    pub terminal: Option<TerminalSize>,
    /// Whether standard input follows. Without it programs find it at its end.
    pub has_input: bool,
    /// Bytes of each output stream that are sent. A stream that writes more goes to a file of the
    /// guest, whole, which [`Spilled`](SpilledOutput) names.
    pub inline_output_bytes: u64,
    /// What its host calls show; without one they are refused in the guest. The guest's kernel
    /// keeps it, programs never see it.
    pub token: Option<SessionToken>,
}

impl Exec {
    /// A program without arguments or input, all of whose output is sent.
    #[must_use]
    pub fn program(name: impl Into<String>, source: impl Into<Vec<u8>>) -> Self {
        Self {
            source: source.into(),
            name: name.into(),
            args: Vec::new(),
            mode: Mode::Program,
            environment: Vec::new(),
            folder: None,
            user: None,
            terminal: None,
            has_input: false,
            inline_output_bytes: u64::MAX,
            token: None,
        }
    }
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
    /// Not at all: only compiled. A source that cannot be is an [`Outcome::Exception`].
    Check,
}

/// Size of a terminal, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Characters of a line.
    pub columns: u16,
    /// Lines.
    pub rows: u16,
}

/// What can be said to a running execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Signal {
    /// Stop, state is kept: KeyboardInterrupt.
    Interrupt,
    /// End, in good order: SIGTERM.
    Terminate,
    /// End at once: SIGKILL.
    Kill,
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
    /// Interrupted; state is kept.
    Interrupted,
    /// The runtime itself trapped: its state is lost, the VM must not be used again.
    Trapped {
        /// What wasmtime reported.
        reason: String,
    },
    /// It never began.
    Refused(Refusal),
    /// The program ended the runtime itself (`os._exit`), with this code: its state is lost, the VM must not be
    /// used again.
    RuntimeExited {
        /// The code it gave.
        code: i32,
    },
}

/// Why an execution never began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// As many run as this guest can run at once, or its number is that of a running one.
    #[error("as many executions run as this guest can run at once")]
    Busy,
    /// This guest has no terminals.
    #[error("this guest has no terminals")]
    NoTerminal,
    /// This guest has no users.
    #[error("this guest has no users")]
    NoUsers,
    /// The source is longer than it may be, or more of it came than was announced.
    #[error("the source is not what was announced")]
    BadSource,
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
