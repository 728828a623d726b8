//! The persistent Python.

use crate::execution::{Interpreter, Running, Step, follow};
use crate::port::Port;
use crate::streams;
use crate::worker::{CONTROL_FD, Worker};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::Result;
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use ukernel_abi::message::{Exec, Mode, Outcome};

/// What runs in the interpreter: the driver and the host's door are this guest's, the rest the adapter's.
const MODULES: [(&str, &str); 6] = [
    ("driver.py", include_str!("driver.py")),
    ("ukernel.py", include_str!("ukernel.py")),
    (
        "program.py",
        include_str!("../../../../adapters/python/src/program.py"),
    ),
    (
        "rlm.py",
        include_str!("../../../../adapters/python/src/rlm.py"),
    ),
    (
        "shown.py",
        include_str!("../../../../adapters/python/src/shown.py"),
    ),
    (
        "host_tools.py",
        include_str!("../../../../adapters/python/src/host_tools.py"),
    ),
];
const LIBRARY: &str = "/run/ukernel/lib";
/// How long it may take to draw new randomness. Emulated, on a host that is busy, that is seconds.
const RESEED: Duration = Duration::from_secs(20);

#[derive(Serialize)]
struct Request<'a> {
    op: &'a str,
    name: &'a str,
    args: &'a [String],
    environment: &'a [(String, String)],
    folder: Option<&'a str>,
    /// The execution before was interrupted, perhaps when it had ended.
    may_be_late: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Said {
    Call { call: String, serial: u64 },
    End(End),
}

#[derive(Deserialize)]
#[serde(tag = "end", rename_all = "snake_case")]
enum End {
    Exited { code: i32, value: Option<String> },
    Exception { kind: String, message: String },
    Interrupted,
}

#[derive(Serialize)]
struct Answer {
    answer: u64,
    is_result: bool,
}

/// The interpreter in the middle of an execution.
struct AtWork<'a> {
    worker: &'a mut Worker,
    is_lost: bool,
}

/// The interpreter; executions take turns.
#[derive(Default)]
pub struct Python(Mutex<Option<Worker>>);

impl Python {
    fn start() -> Result<Worker> {
        fs::create_dir_all(LIBRARY)?;
        for (name, content) in MODULES {
            fs::write(format!("{LIBRARY}/{name}"), content)?;
        }
        Worker::start("/usr/bin/python3", |command| {
            // Run so, its first place for modules is the folder it is in, as at a prompt.
            let driver = format!("{LIBRARY}/driver.py");
            let run = format!(
                "__file__ = {driver:?}; exec(compile(open(__file__).read(), __file__, 'exec'), {{'__file__': __file__, '__name__': 'driver'}})"
            );
            command
                .args(["-c", &run])
                .env("UKERNEL_CONTROL", CONTROL_FD.to_string());
        })
    }

    /// Runs or compiles code in the interpreter and says how it ended.
    pub fn run(&self, running: &Running, port: &Port, exec: &Exec) -> Result<()> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let worker = match slot.as_mut() {
            Some(worker) if !worker.process.has_ended() => worker,
            _ => slot.insert(Self::start()?),
        };
        let request = Request {
            op: match exec.mode {
                Mode::Check => "check",
                Mode::Prompt => "prompt",
                Mode::Program | Mode::Shell => "program",
            },
            name: &exec.name,
            args: &exec.args,
            environment: &exec.environment,
            folder: exec.folder.as_deref(),
            may_be_late: std::mem::take(&mut worker.was_interrupted),
        };
        let (ours, theirs) = streams::make(exec.has_input)?;
        worker.send(&serde_json::to_vec(&request)?, &exec.source, &theirs.0)?;
        drop(theirs);
        running.begin(worker.group);
        let (control, process) = (
            worker.control.try_clone()?,
            worker.process.handle.try_clone()?,
        );
        let endings = [control.as_fd(), process.as_fd()];
        let mut at_work = AtWork {
            worker,
            is_lost: false,
        };
        let inline = exec.inline_output_bytes;
        follow(running, port, ours, inline, &endings, &mut at_work);
        at_work.worker.was_interrupted = running.is_interrupted();
        if at_work.is_lost {
            *slot = None;
        }
        Ok(())
    }

    /// Has the interpreter draw new randomness: it is a twin of others. One that does not answer in time is ended.
    pub fn reseed(&self) {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(worker) = slot.as_mut() else { return };
        let drawn = worker
            .control
            .set_read_timeout(Some(RESEED))
            .and_then(|()| worker.send(br#"{"op":"reseed"}"#, b"", &[]))
            .and_then(|()| worker.receive())
            .and_then(|_| worker.control.set_read_timeout(None));
        if drawn.is_err() {
            *slot = None;
        }
    }

    /// Starts the interpreter ahead of need.
    pub fn prepare(&self) -> Result<()> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.is_none() {
            *slot = Some(Self::start()?);
        }
        Ok(())
    }
}

impl Interpreter for &mut AtWork<'_> {
    fn step(&mut self) -> Step {
        let said = self.worker.receive().ok();
        let said = said.and_then(|(header, payload)| {
            let said = serde_json::from_slice(&header).ok()?;
            Some((said, payload))
        });
        match said {
            Some((Said::Call { call, serial }, payload)) => Step::Calls {
                name: call,
                serial,
                payload,
            },
            Some((Said::End(end), _)) => Step::Ended(match end {
                End::Exited { code, value } => Outcome::Exited { code, value },
                End::Exception { kind, message } => Outcome::Exception { kind, message },
                End::Interrupted => Outcome::Interrupted,
            }),
            None => {
                self.is_lost = true;
                Step::Ended(lost())
            }
        }
    }

    fn answer(&mut self, serial: u64, is_result: bool, payload: &[u8]) {
        let header = Answer {
            answer: serial,
            is_result,
        };
        // One that does not take it ends itself, which is seen.
        if let Ok(header) = serde_json::to_vec(&header) {
            let _ = self.worker.send(&header, payload, &[]);
        }
    }
}

/// The interpreter ended in the middle. Another would know neither variables nor what the host has put there.
fn lost() -> Outcome {
    Outcome::Trapped {
        reason: "the interpreter has ended (os._exit, a crash, or its memory limit)".to_owned(),
    }
}
