//! The persistent Python.

use crate::execution::{Running, follow};
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

/// What runs in the interpreter.
const DRIVER: &str = include_str!("python.py");
const DRIVER_PATH: &str = "/run/ukernel/python.py";
/// How long it may take to draw new randomness.
const RESEED: Duration = Duration::from_secs(2);

#[derive(Serialize)]
struct Request<'a> {
    op: &'a str,
    source: &'a str,
    name: &'a str,
    args: &'a [String],
    environment: &'a [(String, String)],
    folder: Option<&'a str>,
}

#[derive(Deserialize)]
#[serde(tag = "end", rename_all = "snake_case")]
enum Reply {
    Exited { code: i32, value: Option<String> },
    Exception { kind: String, message: String },
    Interrupted,
}

/// The interpreter; executions take turns.
#[derive(Default)]
pub struct Python(Mutex<Option<Worker>>);

impl Python {
    fn start() -> Result<Worker> {
        fs::write(DRIVER_PATH, DRIVER)?;
        Worker::start("/usr/bin/python3", |command| {
            command
                .arg("-c")
                .arg(format!(
                    "exec(compile(open({DRIVER_PATH:?}).read(), {DRIVER_PATH:?}, 'exec'))"
                ))
                .arg(CONTROL_FD.to_string());
        })
    }

    /// Runs or compiles code in the interpreter and says how it ended.
    pub fn run(&self, running: &Running, port: &Port, exec: &Exec) -> Result<()> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let worker = match slot.as_mut() {
            Some(worker) if !worker.process.has_ended() => worker,
            _ => slot.insert(Self::start()?),
        };
        let source = String::from_utf8_lossy(&exec.source);
        let request = Request {
            op: match exec.mode {
                Mode::Check => "check",
                Mode::Prompt => "prompt",
                Mode::Program | Mode::Shell => "program",
            },
            source: &source,
            name: &exec.name,
            args: &exec.args,
            environment: &exec.environment,
            folder: exec.folder.as_deref(),
        };
        let (ours, theirs) = streams::make(exec.has_input)?;
        worker.send(&serde_json::to_vec(&request)?, &theirs.0)?;
        drop(theirs);
        running.begin(worker.group);
        let (control, process) = (
            worker.control.try_clone()?,
            worker.process.handle.try_clone()?,
        );
        let mut is_lost = false;
        follow(
            running,
            port,
            ours,
            exec.inline_output_bytes,
            &[control.as_fd(), process.as_fd()],
            || {
                let reply = worker.receive().ok();
                let reply = reply.and_then(|reply| serde_json::from_slice(&reply).ok());
                Some(match reply {
                    Some(Reply::Exited { code, value }) => Outcome::Exited { code, value },
                    Some(Reply::Exception { kind, message }) => {
                        Outcome::Exception { kind, message }
                    }
                    Some(Reply::Interrupted) => Outcome::Interrupted,
                    None => {
                        is_lost = true;
                        lost()
                    }
                })
            },
        );
        if is_lost {
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
            .and_then(|()| worker.send(br#"{"op":"reseed"}"#, &[]))
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

/// The interpreter ended in the middle: a crash, `os._exit`, the memory limit.
fn lost() -> Outcome {
    Outcome::Exception {
        kind: "InterpreterLost".to_owned(),
        message:
            "the interpreter has ended; the next execution begins in a new one, without variables"
                .to_owned(),
    }
}
