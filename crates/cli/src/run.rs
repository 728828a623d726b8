//! `ukernel run`: boots a VM, runs a program, streams its output, exits with its code.

use crate::args::Run;
use crate::cancel::Cancel;
use crate::engine::Engine;
use crate::failure::{Failure, INTERRUPTED, TIME_LIMIT, WORKLOAD};
use crate::post_mortem::post_mortem;
use serde::Serialize;
use std::io::{self, Read, Write};
use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use ukernel_abi::message::{Exec, LogLevel, Outcome, Stream};
use ukernel_machine::guest::follow::out_of_reach;
use ukernel_machine::guest::{Ended, Event, Events, Guest, Until, feed, follow};
use ukernel_machine::{Channel, MachineError};

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
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::host(error, "the host is out of file handles"))?;
    let exec = Exec {
        args: args.args.clone(),
        has_input: true,
        ..Exec::program(args.file.to_string_lossy(), source)
    };
    let mut output = Output::new(args.json)?;
    let ran = runtime.block_on(carry_out(
        machine.connect(),
        exec,
        args.timeout,
        cancel.token(),
        &mut output,
    ));
    // A read of standard input may wait for ever; nobody waits for it.
    runtime.shutdown_background();
    let ran = ran.map_err(|error| post_mortem(machine.as_mut(), error))?;

    let (code, name, error) = match ran.ended {
        Ok(ended) => {
            output.finish(&cancel)?;
            conclude(ended.outcome, args.memory)
        }
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
            guest: ran.guest,
            start_ms: ran.run_began.duration_since(began).as_secs_f64() * 1e3,
            run_ms: ran.run.as_secs_f64() * 1e3,
        };
        print_json(&report)?;
    }
    Ok(code)
}

/// What became of a program.
struct Ran {
    ended: Result<Ended, MachineError>,
    guest: String,
    run_began: Instant,
    run: Duration,
}

/// Greets the guest and runs the program to its end, or to the time limit or Ctrl-C.
async fn carry_out(
    channel: Result<Channel, MachineError>,
    exec: Exec,
    timeout: Option<Duration>,
    kill: CancellationToken,
    output: &mut Output,
) -> Result<Ran, MachineError> {
    let guest = Guest::greet(channel?).await?;
    let run_began = Instant::now();
    let until = Until {
        deadline: timeout.map(|limit| run_began + limit),
        kill,
        ..Until::default()
    };
    let execution = guest.exec(exec).await?;
    // Not read before the program reads.
    tokio::spawn(feed(execution.input(), tokio::io::stdin()));
    let ended = follow(execution, &until, &out_of_reach(), output).await;
    Ok(Ran {
        ended,
        guest: guest.name().to_owned(),
        run_began,
        run: run_began.elapsed(),
    })
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
    let adapter = ukernel_image::adapter();
    let suffixes = adapter.shown_suffixes();
    let failed = |error: io::Error| {
        Failure::usage(
            format!("{shown}: {error}"),
            format!("give a readable {suffixes} file"),
        )
    };
    if !adapter.takes(file) {
        return Err(Failure::usage(
            format!("{shown} is not a {suffixes} file"),
            format!("this release runs {} programs", adapter.language),
        ));
    }
    let opened = std::fs::File::open(file).map_err(failed)?;
    if opened.metadata().map_err(failed)?.is_dir() {
        return Err(Failure::usage(
            format!("{shown} is a folder"),
            format!("give a {suffixes} file"),
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
        Outcome::Exited { code, .. } | Outcome::RuntimeExited { code } => {
            (code.to_le_bytes()[0], "exited", None)
        }
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
            Some(format!("the runtime was lost: {reason}")),
        ),
        Outcome::Refused(refusal) => (WORKLOAD, "refused", Some(refusal.to_string())),
    }
}

fn seconds(limit: Option<Duration>) -> f64 {
    limit.unwrap_or_default().as_secs_f64()
}

/// Pieces of output that may wait to be written; then the program waits.
const OUTPUT_QUEUE: usize = 16;

/// Where a program's output goes: on as it comes, or kept for `--json`.
///
/// It is written by a thread of its own, because whoever reads it may stand still, which must not
/// hide the time limit.
struct Output {
    keep: bool,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    truncated: bool,
    writer: Option<mpsc::Sender<(Stream, Vec<u8>)>>,
    /// What came of the writing, when it is over.
    written: Option<JoinHandle<io::Result<()>>>,
}

impl Output {
    fn new(keep: bool) -> Result<Self, Failure> {
        let (writer, mut pieces) = mpsc::channel::<(Stream, Vec<u8>)>(OUTPUT_QUEUE);
        let written = std::thread::Builder::new()
            .name("ukernel-output".to_owned())
            .spawn(move || {
                while let Some((stream, bytes)) = pieces.blocking_recv() {
                    match stream {
                        Stream::Stdout => {
                            let mut stdout = io::stdout().lock();
                            stdout.write_all(&bytes).and_then(|()| stdout.flush())?;
                        }
                        Stream::Stderr => io::stderr().write_all(&bytes)?,
                    }
                }
                Ok(())
            })
            .map_err(|error| Failure::host(error, "the host is out of threads"))?;
        Ok(Self {
            keep,
            stdout: Vec::new(),
            stderr: Vec::new(),
            truncated: false,
            writer: Some(writer),
            written: Some(written),
        })
    }

    async fn write(&mut self, stream: Stream, bytes: Vec<u8>) -> Result<(), MachineError> {
        let sent = match &self.writer {
            Some(writer) => writer.send((stream, bytes)).await.is_ok(),
            None => false,
        };
        if sent { Ok(()) } else { Err(self.failure()) }
    }

    /// Why the writer has ended.
    fn failure(&mut self) -> MachineError {
        let written = self.written.take().map(JoinHandle::join);
        let error = match written {
            Some(Ok(Err(error))) => error,
            _ => io::ErrorKind::BrokenPipe.into(),
        };
        MachineError::io("writing output", error)
    }

    fn keep(&mut self, stream: Stream, bytes: Vec<u8>) {
        let kept = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let room = MAX_KEPT_BYTES.saturating_sub(kept.len());
        self.truncated |= bytes.len() > room;
        kept.extend(bytes.into_iter().take(room));
    }

    /// Waits until everything is written, or for Ctrl-C.
    fn finish(&mut self, cancel: &Cancel) -> Result<(), Failure> {
        self.writer = None;
        while self
            .written
            .as_ref()
            .is_some_and(|written| !written.is_finished())
        {
            if cancel.token().is_cancelled() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_micros(100));
        }
        match self.written.take().map(JoinHandle::join) {
            Some(Ok(Err(error))) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure::workload(format!("writing output: {error}"), None))
            }
            _ => Ok(()),
        }
    }
}

impl Events for Output {
    async fn take(&mut self, event: Event) -> Result<(), MachineError> {
        match event {
            Event::Output(stream, bytes) if self.keep => self.keep(stream, bytes),
            Event::Output(stream, bytes) => self.write(stream, bytes).await?,
            Event::Log(level, message) => {
                let level = match level {
                    LogLevel::Debug => "debug",
                    LogLevel::Info => "info",
                    LogLevel::Warn => "warn",
                    LogLevel::Error => "error",
                };
                let line = format!("[{level}] {message}\n");
                self.write(Stream::Stderr, line.into_bytes()).await?;
            }
            // Spans are for a trace file, which this release does not write.
            // Without a session there is no token, and so no call.
            Event::Trace(..) | Event::Call(_) | Event::Signalled(..) | Event::Ended { .. } => {}
        }
        Ok(())
    }
}
