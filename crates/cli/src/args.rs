//! What users type.

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
    /// Keep sessions in the foreground. `session` starts it when nobody serves.
    Serve(Serve),
    /// Answer a question over files larger than any model's window.
    Rlm(Box<Rlm>),
    /// Look at what an answer was made from.
    #[command(subcommand)]
    Trace(Trace),
    /// Measure this host and say which backend `auto` picks, and why.
    Doctor(Doctor),
    /// Measure the performance promises, side by side with their references.
    Bench(Bench),
    /// Print a completion script for a shell.
    Completions(Completions),
    /// Print the manual page, in roff.
    Man,
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

/// `ukernel rlm`
#[derive(Debug, clap::Args)]
pub struct Rlm {
    /// The question.
    pub question: String,
    /// Files and folders it is about; `-` is standard input.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub context: Vec<PathBuf>,
    /// Who answers: `ollama/NAME`, `openrouter/NAME`, `openai/NAME`, `anthropic/NAME`,
    /// `gemini/NAME`, `replay:FILE`, or a provider of the configuration.
    #[arg(long, value_name = "PROVIDER/NAME", env = "UKERNEL_MODEL")]
    pub model: Option<String>,
    /// Who answers queries of its code; the same if not given.
    #[arg(long, value_name = "PROVIDER/NAME", env = "UKERNEL_SUB_MODEL")]
    pub sub_model: Option<String>,
    /// Tokens of all prompts and replies together.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub budget_tokens: Option<u64>,
    /// Cost of all calls together, in US dollars. Needs prices in the configuration.
    #[arg(long, value_name = "X", value_parser = micro_dollars)]
    pub budget_usd: Option<u64>,
    /// Time of the whole run, in seconds.
    #[arg(long, value_name = "S", value_parser = seconds)]
    pub budget_seconds: Option<std::time::Duration>,
    /// How deep models may ask models; 0 for none.
    #[arg(long, value_name = "N")]
    pub max_depth: Option<u32>,
    /// Which guest runs the code.
    #[arg(long, value_enum, default_value_t = GuestArg::Ukernel)]
    pub guest: GuestArg,
    /// What runs the VM.
    #[arg(long, value_enum, default_value_t = BackendArg::Auto, env = "UKERNEL_BACKEND")]
    pub backend: BackendArg,
    /// Write everything that happens to this file: for `ukernel trace`, and to be played again with
    /// `--model replay:FILE`.
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// JSON Schema that the answer has to follow.
    #[arg(long, value_name = "FILE")]
    pub schema: Option<PathBuf>,
    /// Configuration, in TOML.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print one JSON document instead of the answer.
    #[arg(long)]
    pub json: bool,
    /// Do not show the running tree.
    #[arg(long, short)]
    pub quiet: bool,
}

/// `ukernel trace`
#[derive(Debug, Subcommand)]
pub enum Trace {
    /// Show it as a tree in the terminal.
    Show {
        #[command(flatten)]
        file: TraceFile,
        /// Show texts whole, and every query.
        #[arg(long)]
        full: bool,
    },
    /// Write it as one page that needs nothing else.
    Html {
        #[command(flatten)]
        file: TraceFile,
        /// The page; `-` is standard output.
        #[arg(short, long, value_name = "OUT")]
        output: PathBuf,
    },
}

/// A trajectory.
#[derive(Debug, clap::Args)]
pub struct TraceFile {
    /// A file that `rlm --trace` wrote, or the beginning of a run's name.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// Memory of a VM unless said otherwise: room for data, and none of it is used before it
/// is touched.
pub const DEFAULT_MEMORY_MIB: u32 = 512;

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
    /// Interrupt what runs, with KeyboardInterrupt. State is kept.
    Interrupt {
        /// Name or id of the session.
        session: String,
        #[command(flatten)]
        output: Json,
    },
    /// Copy a file into a session.
    Put {
        /// Name or id of the session.
        session: String,
        /// File here; `-` is standard input.
        source: PathBuf,
        /// Absolute path in the guest.
        target: String,
        #[command(flatten)]
        output: Json,
    },
    /// Copy a file out of a session.
    Get {
        /// Name or id of the session.
        session: String,
        /// Absolute path in the guest.
        source: String,
        /// File here; `-` is standard output.
        target: PathBuf,
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
    /// `sys.argv[1..]`.
    #[arg(last = true)]
    pub args: Vec<String>,
    #[command(flatten)]
    pub output: Json,
}

/// A guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum GuestArg {
    /// Our own kernel, with Python.
    Ukernel,
    /// A Linux.
    Linux,
}

impl GuestArg {
    /// Refuses a guest that there is not.
    pub fn check(self) -> Result<(), Failure> {
        match self {
            Self::Ukernel => Ok(()),
            Self::Linux => Err(Failure::host(
                "the Linux guest is not part of this release",
                "leave --guest out",
            )),
        }
    }
}

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
        }
    }
}

/// Dollars, as millionths of one.
fn micro_dollars(text: &str) -> Result<u64, String> {
    let dollars: f64 = text
        .parse()
        .map_err(|_| format!("`{text}` is not an amount of dollars"))?;
    if !(0.000_001..=1e6).contains(&dollars) {
        return Err("give between 0.000001 and 1000000 dollars".to_owned());
    }
    // In range, and rounded down: a budget is not exceeded.
    Ok((dollars * 1e6) as u64)
}

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
