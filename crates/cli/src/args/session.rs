//! `ukernel session`.

use super::seconds;
use clap::{Subcommand, ValueEnum};
use std::path::PathBuf;
use ukernel_image::ImageName;
use ukernel_sandbox::Guest;

/// `ukernel session`
#[derive(Debug, Subcommand)]
pub enum Session {
    /// Make a session.
    Create {
        /// What it is called.
        #[arg(long)]
        name: Option<String>,
        /// Which guest it has.
        #[arg(long, value_enum, default_value_t = GuestArg::Ukernel)]
        guest: GuestArg,
        /// Which image the Linux guest has, of those `ukernel image add` made.
        #[arg(long, value_name = "NAME")]
        image: Option<ImageName>,
        #[command(flatten)]
        output: Json,
    },
    /// List sessions.
    List {
        #[command(flatten)]
        output: Json,
    },
    /// Run Python code. State stays.
    Exec {
        /// Name or id of the session.
        session: String,
        #[command(flatten)]
        execution: Execution,
    },
    /// Run a shell command over the same files.
    Bash {
        /// Name or id of the session.
        session: String,
        #[command(flatten)]
        execution: Execution,
    },
    /// Open a shell on this terminal. Guests with terminals only: Linux.
    Shell {
        /// Name or id of the session.
        session: String,
    },
    /// Interrupt what runs, with KeyboardInterrupt. State is kept.
    Interrupt {
        /// Name or id of the session.
        session: String,
        #[command(flatten)]
        output: Json,
    },
    /// Copy a file or folder into a session. What is neither is left out, with exit code 1.
    Put {
        /// Name or id of the session.
        session: String,
        /// File or folder here; `-` is standard input. What is in a folder then is in TARGET.
        source: PathBuf,
        /// Absolute path in the guest.
        target: String,
        #[command(flatten)]
        output: Json,
    },
    /// Copy a file or folder out of a session.
    Get {
        /// Name or id of the session.
        session: String,
        /// Absolute path in the guest.
        source: String,
        /// File or folder here, written as a whole or not at all; `-` is standard output.
        target: PathBuf,
        /// Replace the file or the whole folder here. A link is replaced, never followed.
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        output: Json,
    },
    /// List a folder of a session.
    Ls {
        /// Name or id of the session.
        session: String,
        /// Absolute path in the guest.
        #[arg(default_value = "/")]
        path: String,
        #[command(flatten)]
        output: Json,
    },
    /// Make a folder in a session, and those above it.
    Mkdir {
        /// Name or id of the session.
        session: String,
        /// Absolute path in the guest.
        path: String,
        #[command(flatten)]
        output: Json,
    },
    /// Rename a file or folder of a session. A file there is replaced.
    Mv {
        /// Name or id of the session.
        session: String,
        /// Absolute path in the guest.
        from: String,
        /// Absolute path in the guest.
        to: String,
        #[command(flatten)]
        output: Json,
    },
    /// Remove a file or an empty folder of a session.
    Rm {
        /// Name or id of the session.
        session: String,
        /// Absolute path in the guest.
        path: String,
        /// Remove a folder with all that is in it.
        #[arg(short = 'r', long)]
        recursive: bool,
        #[command(flatten)]
        output: Json,
    },
    /// Keep the state of now under a name.
    Snapshot {
        /// Name or id of the session.
        session: String,
        /// Name of the snapshot.
        name: String,
        /// Forget the snapshot of this name instead.
        #[arg(long)]
        delete: bool,
        #[command(flatten)]
        output: Json,
    },
    /// List snapshots.
    Snapshots {
        /// Name or id of the session.
        session: String,
        #[command(flatten)]
        output: Json,
    },
    /// Go back to a snapshot: interpreter, variables and files.
    Rollback {
        /// Name or id of the session.
        session: String,
        /// Name or id of the snapshot.
        snapshot: String,
        #[command(flatten)]
        output: Json,
    },
    /// Make independent copies.
    Fork {
        /// Name or id of the session.
        session: String,
        /// How many.
        #[arg(short = 'n', default_value_t = 1)]
        count: usize,
        /// Snapshot to start from instead of the state of now.
        #[arg(long)]
        from: Option<String>,
        /// What a copy is called. Once for each.
        #[arg(long = "name")]
        names: Vec<String>,
        #[command(flatten)]
        output: Json,
    },
    /// Let a session live longer.
    Extend {
        /// Name or id of the session.
        session: String,
        #[command(flatten)]
        output: Json,
    },
    /// End a session.
    Destroy {
        /// Name or id of the session.
        session: String,
        #[command(flatten)]
        output: Json,
    },
}

/// How results are shown.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct Json {
    /// Print one JSON document.
    #[arg(long)]
    pub json: bool,
}

/// What is run in a session.
#[derive(Debug, clap::Args)]
pub struct Execution {
    /// The code; `-` is standard input.
    pub code: String,
    /// End it after this many seconds, with exit code 124.
    #[arg(long, value_name = "S", value_parser = seconds)]
    pub timeout: Option<std::time::Duration>,
    /// A variable added to the guest's environment. Once for each.
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = variable)]
    pub environment: Vec<(String, String)>,
    /// Working folder in the guest. It stays for what is run next.
    #[arg(long = "cwd", value_name = "PATH")]
    pub folder: Option<String>,
    /// `sys.argv[1..]`.
    #[arg(last = true)]
    pub args: Vec<String>,
    #[command(flatten)]
    pub output: Json,
}

/// A variable as users write it.
fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

impl From<GuestArg> for Guest {
    fn from(guest: GuestArg) -> Self {
        match guest {
            GuestArg::Ukernel => Self::Ukernel,
            GuestArg::Linux => Self::Linux,
        }
    }
}

/// A guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum GuestArg {
    /// Our own kernel, with Python.
    Ukernel,
    /// A Linux.
    Linux,
}
