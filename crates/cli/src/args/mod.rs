//! What users type.

mod image;
mod mcp;
mod rlm;
mod session;

pub use image::{Image, ImageAdd};
pub use mcp::{Client, Mcp};
pub use rlm::{Rlm, Trace, TraceFile};
pub use session::{Execution, GuestArg, Json, Session};

use crate::failure::Failure;
use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use ukernel_abi::layout::{MAX_MEMORY_MIB, MIN_MEMORY_MIB};
use ukernel_machine::BackendKind;

/// Runs what a language model writes in a microVM of its own.
#[derive(Debug, Parser)]
#[command(name = "ukernel", version, about, disable_help_subcommand = true)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a Python file in a fresh VM.
    Run(Run),
    /// Keep stateful sandboxes: code, files, snapshots, forks.
    #[command(subcommand)]
    Session(Session),
    /// Make images of the Linux guest with more packages and files.
    #[command(subcommand)]
    Image(Image),
    /// Keep sessions in the foreground. `session` starts it when nobody serves.
    Serve(Serve),
    /// Answer a question over files larger than any model's window.
    Rlm(Box<Rlm>),
    /// Serve the tools to any MCP client: on standard input and output, or over HTTP.
    Mcp(Box<Mcp>),
    /// Look at what an answer was made from.
    #[command(subcommand)]
    Trace(Trace),
    /// Check receipts of sessions.
    #[command(subcommand)]
    Audit(Audit),
    /// Measure this host and say which backend `auto` picks, and why.
    Doctor(Doctor),
    /// Measure the performance promises, side by side with their references.
    Bench(Bench),
    /// Print a completion script for a shell.
    Completions(Completions),
    /// Print the manual page, in roff.
    Man,
}

/// `ukernel audit`
#[derive(Debug, Subcommand)]
pub enum Audit {
    /// Check that a receipt is what was written: exit code 1 if a line was changed, dropped or added.
    Verify {
        /// The receipt of a session: `session destroy` says where it is.
        file: PathBuf,
        /// Print one JSON document.
        #[arg(long)]
        json: bool,
    },
}

/// `ukernel run`
#[derive(Debug, clap::Args)]
pub struct Run {
    /// The program, a `.py` file.
    pub file: PathBuf,
    /// What runs the VM.
    #[arg(long, value_enum, default_value_t = BackendArg::Auto, env = "UKERNEL_BACKEND")]
    pub backend: BackendArg,
    /// Memory of the VM, in MiB.
    #[arg(long, value_name = "MiB", default_value_t = DEFAULT_MEMORY_MIB, env = "UKERNEL_MEMORY",
          value_parser = clap::value_parser!(u32).range(i64::from(MIN_MEMORY_MIB)..=i64::from(MAX_MEMORY_MIB)))]
    pub memory: u32,
    /// End the program after this many seconds, with exit code 124.
    #[arg(long, value_name = "S", value_parser = seconds)]
    pub timeout: Option<std::time::Duration>,
    /// Print one JSON document with output, outcome and times instead of streaming.
    #[arg(long)]
    pub json: bool,
    /// Arguments of the program.
    #[arg(last = true)]
    pub args: Vec<String>,
}

/// Memory of a VM unless said otherwise: room for data, and none of it is used before it
/// is touched.
pub const DEFAULT_MEMORY_MIB: u32 = 512;

/// `ukernel serve`
#[derive(Debug, Default, clap::Args)]
pub struct Serve {
    /// End the daemon that serves now. Its sessions come back with the next one.
    #[arg(long)]
    pub stop: bool,
    /// Say how the daemon that serves now is: its process, sessions and pool.
    #[arg(long, conflicts_with = "stop")]
    pub status: bool,
    /// With --status: print one JSON document.
    #[arg(long, requires = "status")]
    pub json: bool,
    /// Limits and sizes, a TOML file.
    #[arg(long, value_name = "FILE", env = "UKERNEL_CONFIG")]
    pub config: Option<PathBuf>,
    /// What runs the VMs: the one named, or none.
    #[arg(long, env = "UKERNEL_BACKEND")]
    pub backend: Option<String>,
    /// Started by a command: ends when it is not used.
    #[arg(long, hide = true)]
    pub on_demand: bool,
}

/// `ukernel doctor`
#[derive(Debug, clap::Args)]
pub struct Doctor {
    /// Print one JSON document.
    #[arg(long)]
    pub json: bool,
}

/// `ukernel bench`
#[derive(Debug, clap::Args)]
pub struct Bench {
    /// Measure only figures whose name starts so.
    pub name: Option<String>,
    /// Print one JSON document.
    #[arg(long)]
    pub json: bool,
    /// What runs the VMs.
    #[arg(long, value_enum, default_value_t = BackendArg::Auto, env = "UKERNEL_BACKEND")]
    pub backend: BackendArg,
    /// A tenth of the runs: to see that it works.
    #[arg(long)]
    pub quick: bool,
}

/// `ukernel completions`
#[derive(Debug, clap::Args)]
pub struct Completions {
    /// The shell.
    pub shell: clap_complete::Shell,
}

/// A backend, or the best one here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BackendArg {
    /// The best one this host has.
    Auto,
    /// The embedded VMM.
    Kvm,
    /// Firecracker.
    Firecracker,
    /// QEMU: for hosts without KVM, where it emulates the processor.
    Qemu,
}

impl BackendArg {
    /// The name users write, if a choice was made.
    pub fn name(self) -> Option<&'static str> {
        self.explicit().map(BackendKind::name)
    }

    /// The choice, if one was made.
    pub fn explicit(self) -> Option<BackendKind> {
        match self {
            Self::Auto => None,
            Self::Kvm => Some(BackendKind::Kvm),
            Self::Firecracker => Some(BackendKind::Firecracker),
            Self::Qemu => Some(BackendKind::Qemu),
        }
    }
}

/// A time limit.
fn seconds(text: &str) -> Result<std::time::Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| format!("`{text}` is not a number of seconds"))?;
    if !(0.001..=1e9).contains(&seconds) {
        return Err("give between 0.001 and 1000000000 seconds".to_owned());
    }
    Ok(std::time::Duration::from_secs_f64(seconds))
}

/// `ukernel completions SHELL`
pub fn completions(completions: &Completions) -> Result<u8, Failure> {
    clap_complete::generate(
        completions.shell,
        &mut Args::command(),
        "ukernel",
        &mut std::io::stdout(),
    );
    Ok(0)
}

/// `ukernel man`
pub fn man() -> Result<u8, Failure> {
    clap_mangen::Man::new(Args::command())
        .render(&mut std::io::stdout())
        .map_err(|error| Failure::workload(format!("writing output: {error}"), None))?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn program_arguments_stand_behind_two_dashes() {
        let args = Args::try_parse_from([
            "ukernel",
            "run",
            "a.py",
            "--timeout",
            "1.5",
            "--",
            "-x",
            "y",
        ]);
        let Ok(Args {
            command: Command::Run(run),
        }) = args
        else {
            panic!("a run")
        };
        assert_eq!(run.args, ["-x", "y"]);
        assert_eq!(run.timeout, Some(std::time::Duration::from_millis(1500)));
    }

    #[test]
    fn nonsense_is_refused() {
        for words in [
            &["ukernel", "run"][..],
            &["ukernel", "run", "a.py", "--timeout", "-1"],
            &["ukernel", "run", "a.py", "--timeout", "nan"],
            &["ukernel", "run", "a.py", "--memory", "1"],
            &["ukernel", "run", "a.py", "--memory", "99999999"],
            &["ukernel", "run", "a.py", "--backend", "docker"],
            &["ukernel", "walk"],
        ] {
            assert!(Args::try_parse_from(words).is_err(), "{words:?}");
        }
    }
}
