//! What commands and daemon say to each other: the daemon's [`Greeting`], then one request on a
//! connection, then its answers.
//!
//! Everything is a head, one line of JSON, that says how many bytes of body follow it.
//! ```text
//!   {"version":"0.1.0"}\n
//!   {"op":"exec","session":"lab",...,"body":9}\nprint(42)
//!   {"reply":"output","stream":"stdout","body":3}\n42\n
//!   {"reply":"done","value":{...},"body":0}\n
//! ```
//! Each reply `input` is answered by one piece of standard input, or of the archive of a `put`: its
//! length (u32, little endian, at most [`MAX_INPUT_BYTES`]), then its bytes; no bytes are the end.
//! The archive of a `get` comes as output of a stream `archive`. Archives are tar.
//! A client that closes its half interrupts its execution and ends its `put` or `get`.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use ukernel_machine::MachineError;
use ukernel_sandbox::environment::TerminalSize;
use ukernel_sandbox::{Guest, ImageName, SandboxError};

/// Longest head, in bytes.
pub const MAX_HEAD_BYTES: usize = 64 << 10;

/// Longest piece of standard input or of an archive, in bytes.
pub const MAX_INPUT_BYTES: usize = 64 << 10;

/// Longest greeting, in bytes.
pub const MAX_GREETING_BYTES: u64 = 256;

/// What a daemon says first to each client it takes. A client that was not greeted was not heard:
/// a daemon that ends has connections that it never took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Greeting {
    /// The daemon's release. Only commands of the same release may ask it for more than its
    /// status and its end.
    pub version: String,
}

impl Greeting {
    /// The greeting of this release.
    #[must_use]
    pub fn own() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// What a client wants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Request {
    /// Makes a session.
    Create {
        /// Its name.
        name: Option<String>,
        /// What runs inside.
        #[serde(default)]
        guest: Guest,
        /// The user's image it is made with.
        #[serde(default)]
        image: Option<ImageName>,
    },
    /// Lists sessions, the lost ones too.
    List,
    /// Runs the body.
    Exec {
        /// Name or id.
        session: String,
        /// Whether it is for the shell.
        is_command: bool,
        /// Its time limit; the configuration's if `None`.
        timeout_ms: Option<u64>,
        /// `sys.argv[1..]`.
        args: Vec<String>,
        /// Variables added to the guest's environment.
        environment: Vec<(String, String)>,
        /// Working folder in the guest; where the execution before left it if `None`.
        folder: Option<String>,
        /// Whether the client has standard input for it.
        has_input: bool,
        /// The terminal a command is to have.
        #[serde(default)]
        terminal: Option<TerminalSize>,
    },
    /// Says that the terminal of what runs has another size.
    Resize {
        /// Name or id.
        session: String,
        /// The size.
        size: TerminalSize,
    },
    /// Interrupts what runs.
    Interrupt {
        /// Name or id.
        session: String,
    },
    /// Says whether the body is code that could run.
    Validate {
        /// Name or id.
        session: String,
    },
    /// Writes what an archive holds to the guest.
    Put {
        /// Name or id.
        session: String,
        /// Path in the guest.
        path: String,
    },
    /// Reads a file or folder of the guest as an archive.
    Get {
        /// Name or id.
        session: String,
        /// Path in the guest.
        path: String,
    },
    /// Lists a folder of the guest, or one file.
    Ls {
        /// Name or id.
        session: String,
        /// Path in the guest.
        path: String,
    },
    /// Makes a folder of the guest.
    Mkdir {
        /// Name or id.
        session: String,
        /// Path in the guest.
        path: String,
    },
    /// Renames a file or folder of the guest.
    Mv {
        /// Name or id.
        session: String,
        /// Path in the guest.
        from: String,
        /// Path in the guest.
        to: String,
    },
    /// Removes a file or folder of the guest.
    Rm {
        /// Name or id.
        session: String,
        /// Path in the guest.
        path: String,
        /// Whether what is in a folder goes too.
        recursive: bool,
    },
    /// Keeps the state of now.
    Snapshot {
        /// Name or id.
        session: String,
        /// Name of the snapshot.
        name: String,
    },
    /// Lists snapshots.
    Snapshots {
        /// Name or id.
        session: String,
    },
    /// Forgets a snapshot.
    DeleteSnapshot {
        /// Name or id.
        session: String,
        /// Name or id of the snapshot.
        snapshot: String,
    },
    /// Goes back to a snapshot.
    Rollback {
        /// Name or id.
        session: String,
        /// Name or id of the snapshot.
        snapshot: String,
    },
    /// Makes copies.
    Fork {
        /// Name or id.
        session: String,
        /// Snapshot to start from; the state of now if `None`.
        from: Option<String>,
        /// How many.
        count: usize,
        /// What they are called, as far as names are given.
        names: Vec<String>,
    },
    /// Lets a session live longer.
    Extend {
        /// Name or id.
        session: String,
    },
    /// Ends a session.
    Destroy {
        /// Name or id.
        session: String,
    },
    /// Says how the daemon is.
    Status,
    /// Ends the daemon. Its sessions come back with the next one.
    Stop,
}

/// A request with the length of its body.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    /// The request.
    #[serde(flatten)]
    pub request: Request,
    /// Bytes that follow the head.
    pub body: u64,
}

/// What the daemon answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// A piece of output, which is the body. More follows.
    Output {
        /// `stdout`, `stderr` or `archive`.
        stream: String,
    },
    /// The client is to send one piece of standard input or of its archive.
    Input,
    /// It is done.
    Done {
        /// What came of it.
        value: Value,
    },
    /// It failed.
    Failed {
        /// Which failure it is.
        kind: FailureKind,
        /// What failed, for people.
        message: String,
    },
}

/// Which failure it is, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The request cannot be read.
    BadRequest,
    /// A name that cannot be one, or a configuration that makes no sense.
    BadName,
    /// The name is taken.
    NameTaken,
    /// There is no such session.
    NoSession,
    /// There is no such snapshot.
    NoSnapshot,
    /// The session, or the daemon, has enough to do.
    Busy,
    /// A bound is reached.
    Limit,
    /// A stored state is not what was stored.
    Damaged,
    /// The execution took too long.
    TimeLimit,
    /// The execution was cancelled.
    Cancelled,
    /// The execution was interrupted before it began.
    Interrupted,
    /// The VM was lost.
    VmLost,
    /// No VM was free in time.
    NoVm,
    /// The host lacks something.
    Host,
    /// Anything else.
    #[serde(other)]
    Failed,
}

impl FailureKind {
    /// The name programs see.
    #[must_use]
    pub fn name(self) -> String {
        let name = serde_json::to_value(self).unwrap_or_default();
        name.as_str().unwrap_or_default().to_owned()
    }
}

impl From<&SandboxError> for FailureKind {
    fn from(error: &SandboxError) -> Self {
        match error {
            SandboxError::TimeLimit { .. } => Self::TimeLimit,
            SandboxError::Cancelled { .. } => Self::Cancelled,
            SandboxError::NeverBegan => Self::Interrupted,
            SandboxError::VmLost { .. } => Self::VmLost,
            SandboxError::NoSession(_) => Self::NoSession,
            SandboxError::NoSnapshot(_) => Self::NoSnapshot,
            SandboxError::NameTaken { .. } => Self::NameTaken,
            SandboxError::BadName { .. } | SandboxError::Config(_) | SandboxError::ImageOfLinux => {
                Self::BadName
            }
            SandboxError::Image(error) if error.is_usage() => Self::BadRequest,
            SandboxError::Busy(_) => Self::Busy,
            SandboxError::Limit { .. } => Self::Limit,
            SandboxError::Damaged { .. } => Self::Damaged,
            SandboxError::AllocationTimeout { .. } => Self::NoVm,
            SandboxError::NoBackend { .. }
            | SandboxError::Io { .. }
            | SandboxError::Template { .. }
            | SandboxError::Image(_)
            | SandboxError::Machine(
                MachineError::Unavailable { .. }
                | MachineError::Vmm(_)
                | MachineError::Firecracker { .. }
                | MachineError::Qemu { .. },
            ) => Self::Host,
            SandboxError::Machine(_)
            | SandboxError::Archive(_)
            | SandboxError::SessionEnded(_)
            | SandboxError::Stopping => Self::Failed,
        }
    }
}

/// A reply with the length of its body.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answered {
    /// The reply.
    #[serde(flatten)]
    pub reply: Reply,
    /// Bytes that follow the head.
    pub body: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_the_names_of_the_protocol() {
        assert_eq!(FailureKind::TimeLimit.name(), "time_limit");
        let newer: FailureKind = serde_json::from_str("\"newer\"").expect("a kind");
        assert_eq!(newer, FailureKind::Failed);
    }

    #[test]
    fn a_request_survives_the_way() {
        let asked = Asked {
            request: Request::Exec {
                session: "lab".to_owned(),
                is_command: false,
                timeout_ms: Some(5),
                args: vec!["a".to_owned()],
                environment: vec![("A".to_owned(), "1".to_owned())],
                folder: None,
                has_input: true,
                terminal: None,
            },
            body: 9,
        };
        let text = serde_json::to_string(&asked).expect("JSON");
        assert!(!text.contains('\n'));
        assert_eq!(
            serde_json::from_str::<Asked>(&text).expect("a request"),
            asked
        );
    }
}
