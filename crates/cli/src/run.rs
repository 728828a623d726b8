//! `ukernel run`: boots a VM, runs a program, streams its output, exits with its code.

use crate::args::Run;
use crate::cancel::Cancel;
use crate::engine::Engine;
use crate::failure::{Failure, INTERRUPTED, TIME_LIMIT, WORKLOAD};
use crate::post_mortem::post_mortem;
use serde::Serialize;
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};
use ukernel_abi::message::{LogLevel, Outcome, Stream};
use ukernel_machine::MachineError;
use ukernel_machine::guest::{Event, Guest, Program, Until};

/// Longest program read, in bytes.
const MAX_SOURCE_BYTES: u64 = 64 << 20;

/// Output kept of each stream for `--json`, in bytes: the rest is left out and said to be.
const MAX_KEPT_BYTES: usize = 16 << 20;

/// What a run came to, for `--json`.
#[derive(Debug, Serialize)]
struct Report {
    exit_code: u8,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    stdout: String,
    stderr: String,
    /// Whether there was more output than is kept here.
    truncated: bool,
    backend: &'static str,
    guest: String,
    start_ms: f64,
    run_ms: f64,
}

/// `ukernel run FILE`
pub fn run(args: &Run) -> Result<u8, Failure> {
    let source = read_program(&args.file)?;
    let cancel = Cancel::install()?;
    let began = Instant::now();
    let engine = Engine::open(args.backend.explicit())?;
    let mut machine = engine.start(args.memory)?;
    let mut guest = machine
        .connect()
        .and_then(Guest::greet)
        .map_err(|error| post_mortem(machine.as_mut(), error))?;
    let start = began.elapsed();

    let mut output = Output::new(args.json);
    let name = args.file.to_string_lossy();
    let program = Program {
        args: &args.args,
        ..Program::new(&name, &source)
    };
    let run_began = Instant::now();
    let until = Until {
        deadline: args.timeout.map(|limit| run_began + limit),
        cancel: Some(cancel.file()),
        answers: None,
    };
    let ended = guest.exec(&program, until, &mut |event| output.take(event));
    output.flush()?;
    let run = run_began.elapsed();

    let (code, name, error) = match ended {
        Ok(ended) => conclude(ended.outcome, args.memory),
        Err(MachineError::TimedOut(_)) => (
            TIME_LIMIT,
            "time limit",
            Some(format!("time limit of {} s reached", seconds(args.timeout))),
        ),
        Err(MachineError::Cancelled) => (INTERRUPTED, "cancelled", Some("interrupted".to_owned())),
        Err(MachineError::Io { cause, .. }) if cause.kind() == io::ErrorKind::BrokenPipe => {
            // Whoever read our output has gone, as in `| head`: nothing to say, nobody to hear.
            (WORKLOAD, "output closed", None)
        }
        Err(error) => return Err(post_mortem(machine.as_mut(), error)),
    };
    machine.kill()?;
    if let Some(error) = &error {
        eprintln!("{}", Failure::workload(error, None));
    }
    if args.json {
        let report = Report {
            exit_code: code,
            outcome: name,
            error,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            truncated: output.truncated,
            backend: engine.backend_name(),
            guest: guest.name().to_owned(),
            start_ms: start.as_secs_f64() * 1e3,
            run_ms: run.as_secs_f64() * 1e3,
        };
        print_json(&report)?;
    }
    Ok(code)
}

/// One JSON document on standard output.
pub fn print_json(document: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(document).map_err(|error| {
        Failure::workload(format!("output cannot be written as JSON: {error}"), None)
    })?;
    writeln!(io::stdout(), "{text}")
        .map_err(|error| Failure::workload(format!("writing output: {error}"), None))
}

fn read_program(file: &Path) -> Result<Vec<u8>, Failure> {
    let shown = file.display();
    let failed =
        |error: io::Error| Failure::usage(format!("{shown}: {error}"), "give a readable .py file");
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("py") => {}
        _ => {
            return Err(Failure::usage(
                format!("{shown} is not a .py file"),
                "this release runs Python programs",
            ));
        }
    }
    let opened = std::fs::File::open(file).map_err(failed)?;
    if opened.metadata().map_err(failed)?.is_dir() {
        return Err(Failure::usage(
            format!("{shown} is a folder"),
            "give a .py file",
        ));
    }
    let mut source = Vec::new();
    opened
        .take(MAX_SOURCE_BYTES + 1)
        .read_to_end(&mut source)
        .map_err(failed)?;
    if source.len() as u64 > MAX_SOURCE_BYTES {
        return Err(Failure::usage(
            format!("{shown} is longer than 64 MiB"),
            "put data into files of their own",
        ));
    }
    Ok(source)
}

/// Exit code, name and message of an outcome.
fn conclude(outcome: Outcome, memory_mib: u32) -> (u8, &'static str, Option<String>) {
    match outcome {
        // The low eight bits, as every shell sees them.
        Outcome::Exited { code, .. } => (code.to_le_bytes()[0], "exited", None),
        Outcome::Exception { kind, .. } if kind == "MemoryError" => (
            WORKLOAD,
            "exception",
            Some(format!("out of memory, limit {memory_mib} MiB")),
        ),
        // The traceback on standard error has said it.
        Outcome::Exception { .. } => (WORKLOAD, "exception", None),
        Outcome::Interrupted => (INTERRUPTED, "interrupted", Some("interrupted".to_owned())),
        Outcome::Trapped { reason } => (
            WORKLOAD,
            "trapped",
            Some(format!("the Python runtime was lost: {reason}")),
        ),
    }
}

fn seconds(limit: Option<Duration>) -> f64 {
    limit.unwrap_or_default().as_secs_f64()
}

/// Where a program's output goes: on as it comes, or kept for `--json`.
struct Output {
    keep: bool,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    truncated: bool,
}

impl Output {
    fn new(keep: bool) -> Self {
        Self {
            keep,
            stdout: Vec::new(),
            stderr: Vec::new(),
            truncated: false,
        }
    }

    fn take(&mut self, event: Event) -> Result<(), MachineError> {
        match event {
            Event::Output(stream, bytes) if self.keep => {
                let kept = match stream {
                    Stream::Stdout => &mut self.stdout,
                    Stream::Stderr => &mut self.stderr,
                };
                let room = MAX_KEPT_BYTES.saturating_sub(kept.len());
                self.truncated |= bytes.len() > room;
                kept.extend(bytes.into_iter().take(room));
                Ok(())
            }
            Event::Output(Stream::Stdout, bytes) => {
                let mut stdout = io::stdout().lock();
                written(stdout.write_all(&bytes).and_then(|()| stdout.flush()))
            }
            Event::Output(Stream::Stderr, bytes) => written(io::stderr().write_all(&bytes)),
            Event::Log(level, message) => {
                let level = match level {
                    LogLevel::Debug => "debug",
                    LogLevel::Info => "info",
                    LogLevel::Warn => "warn",
                    LogLevel::Error => "error",
                };
                written(writeln!(io::stderr(), "[{level}] {message}"))
            }
            // Spans are for a trace file, which this release does not write.
            // Without a session there is no token, and so no call.
            Event::Trace(..) | Event::Call(_) => Ok(()),
        }
    }

    fn flush(&mut self) -> Result<(), Failure> {
        io::stdout()
            .flush()
            .map_err(|error| Failure::workload(format!("writing output: {error}"), None))
    }
}

fn written(result: io::Result<()>) -> Result<(), MachineError> {
    result.map_err(|error| MachineError::io("writing output", error))
}
