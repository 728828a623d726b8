//! One execution in a session: the checkpoint before it, its run, how it ended.

use super::calls::Caller;
use super::journal::Entry;
use super::output::Collector;
use super::shown::{DISPLAY, Shown};
use super::state::{Lease, Phase, State};
use crate::config::SessionModel;
use crate::environment::{
    ExecutionResult, ExecutionStatus, HostCalls, InputSource, OutputFile, OutputSink,
};
use crate::vm::Vm;
use crate::{Result, SandboxError};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use ukernel_abi::message::{Exec, Mode, Outcome, SessionToken, TerminalSize};
use ukernel_machine::MachineError;
use ukernel_machine::guest::{Answers, Ended, Event, Events, Until, feed, follow};

/// An execution as it was asked for.
pub(super) struct Request {
    pub(super) exec: Exec,
    pub(super) timeout: Duration,
    pub(super) sink: Option<OutputSink>,
    pub(super) calls: Option<Arc<dyn HostCalls>>,
    pub(super) input: Option<InputSource>,
    pub(super) asked: Instant,
}

/// An execution whose VM stands at the state before it.
pub(super) struct Begun {
    pub(super) lease: Lease,
    checkpoint_error: Option<String>,
}

/// What a run came to.
pub(super) struct Ran {
    result: Result<Ended, MachineError>,
    output: Collector,
    shown: Shown,
    took: Duration,
}

impl Ran {
    /// Whether the VM can be used again.
    pub(super) fn is_well(&self) -> bool {
        self.result
            .as_ref()
            .is_ok_and(|ended| loss(&ended.outcome).is_none())
    }
}

impl State {
    /// What [`Self::begin`] does, where nothing of it blocks: the VM stands at the state before the execution, which is
    /// on disk. `None`: it does not, and nothing was done.
    pub(super) fn begin_at_once(&mut self, request: &Request) -> Option<Begun> {
        if self.keeps_checkpoints && !matches!(self.phase, Phase::Clean(_)) {
            return None;
        }
        let lease = self.lease_at_once()?;
        let started = self.note_start(request);
        Some(Begun {
            lease,
            checkpoint_error: started.err().map(|error| error.to_string()),
        })
    }

    /// Writes down the state before an execution and takes the VM for it. Only on a thread that
    /// may block.
    pub(super) fn begin(&mut self, request: &Request) -> Result<Begun> {
        self.check_alive()?;
        let written = if self.keeps_checkpoints {
            self.checkpoint()
        } else {
            Ok(())
        };
        let started = self.note_start(request);
        let checkpoint_error = written.and(started).err().map(|error| error.to_string());
        match self.lease() {
            Ok(lease) => Ok(Begun {
                lease,
                checkpoint_error,
            }),
            Err(error) => {
                self.note_end("lost");
                Err(error)
            }
        }
    }

    fn note_start(&mut self, request: &Request) -> Result<()> {
        self.record.commands += 1;
        let kind = match request.exec.mode {
            Mode::Shell => "command",
            Mode::Prompt | Mode::Program | Mode::Check => "code",
        };
        let source = String::from_utf8_lossy(&request.exec.source);
        self.note(&Entry::start(self.record.commands, kind, &source))
    }

    /// Takes the VM back, or gives it up, and says what the execution came to.
    pub(super) fn finish(
        &mut self,
        request: &Request,
        begun: Begun,
        ran: Ran,
    ) -> Result<ExecutionResult> {
        let lease = begun.lease;
        // Only a runtime that lives is kept: else the state before stands.
        let ended = ran.result.and_then(|ended| match loss(&ended.outcome) {
            Some(reason) => Err(MachineError::Unexpected(reason)),
            None => Ok(ended),
        });
        let ended = match ended {
            Ok(ended) => {
                self.note_end("ended");
                match self.config.backend.session_model {
                    SessionModel::Affinity => self.give_back_used(lease),
                    SessionModel::Stateless => self.give_up(lease),
                }
                ended
            }
            // It never began: nothing has changed.
            Err(MachineError::Refused(reason)) => {
                self.note_end("refused");
                self.give_back(lease);
                return Err(SandboxError::Config(reason));
            }
            Err(error) => {
                self.note_end("lost");
                let reason = match &error {
                    MachineError::TimedOut(_) | MachineError::Cancelled => String::new(),
                    MachineError::Unexpected(reason) => reason.clone(),
                    MachineError::Unheeded => error.to_string(),
                    other => lease.vm.last_words(other),
                };
                self.give_up(lease);
                return Err(self.failure(request, &error, reason, ran.output));
            }
        };
        let (status, value, files) = result_of(ended);
        Ok(ExecutionResult {
            output: ran.output.finish(),
            status,
            value,
            parts: ran.shown.finish(),
            files,
            command: self.record.commands,
            total_ms: request.asked.elapsed().as_secs_f64() * 1e3,
            run_ms: ran.took.as_secs_f64() * 1e3,
            checkpoint_error: begun.checkpoint_error,
        })
    }

    /// Why there is no result, with what was written until then and where the session stands.
    fn failure(
        &self,
        request: &Request,
        error: &MachineError,
        reason: String,
        output: Collector,
    ) -> SandboxError {
        let output = Box::new(output.finish());
        let standing = self.standing();
        match error {
            MachineError::TimedOut(_) => SandboxError::TimeLimit {
                limit: request.timeout,
                output,
                standing,
            },
            MachineError::Cancelled => SandboxError::Cancelled { output, standing },
            _ => SandboxError::VmLost {
                reason,
                output,
                standing,
            },
        }
    }
}

/// Runs an execution in the VM that was taken for it.
pub(super) async fn run(
    vm: &Vm,
    request: &Request,
    until: &Until,
    resized: watch::Receiver<Option<TerminalSize>>,
) -> Ran {
    let bound = usize::try_from(request.exec.inline_output_bytes).unwrap_or(usize::MAX);
    let mut output = Collector::new(request.sink.clone(), bound);
    let mut shown = Shown::default();
    let began = Instant::now();
    let result = run_in(vm, request, until, resized, &mut output, &mut shown).await;
    Ran {
        result,
        output,
        shown,
        took: began.elapsed(),
    }
}

async fn run_in(
    vm: &Vm,
    request: &Request,
    until: &Until,
    mut resized: watch::Receiver<Option<TerminalSize>>,
    output: &mut Collector,
    shown: &mut Shown,
) -> Result<Ended, MachineError> {
    let source = request.input.as_ref().and_then(InputSource::take);
    let exec = Exec {
        has_input: source.is_some(),
        ..request.exec.clone()
    };
    let execution = vm.guest()?.exec(exec).await?;
    let feeding = source.map(|source| tokio::spawn(feed(execution.input(), source)));
    let signals = execution.signals();
    let resizing = request.exec.terminal.map(|_| {
        tokio::spawn(async move {
            while resized.changed().await.is_ok() {
                let size = *resized.borrow_and_update();
                if let Some(size) = size
                    && signals.resize(size).await.is_err()
                {
                    return;
                }
            }
        })
    });
    let mut events = Handler {
        caller: Caller::new(request.calls.clone(), execution.answers()),
        answers: execution.answers(),
        token: request.exec.token,
        output,
        shown,
    };
    let ended = follow(execution, until, &vm.reach(), &mut events).await;
    // Nobody waits for what is not answered now, or reads what is not read.
    events.caller.end().await;
    if let Some(feeding) = feeding {
        feeding.abort();
    }
    if let Some(resizing) = resizing {
        resizing.abort();
    }
    ended
}

struct Handler<'a> {
    caller: Caller,
    answers: Answers,
    token: Option<SessionToken>,
    output: &'a mut Collector,
    shown: &'a mut Shown,
}

impl Events for Handler<'_> {
    async fn take(&mut self, event: Event) -> Result<(), MachineError> {
        match event {
            Event::Call(call) if call.name == DISPLAY && Some(call.token) == self.token => {
                let answer = self.shown.take(&call.payload);
                // Fails where the connection has ended: then nobody waits.
                let _ = self.answers.answer(call.number, answer).await;
            }
            Event::Call(call) => self.caller.take(call),
            Event::Output(stream, bytes) => self.output.take(stream, bytes).await?,
            // Logs and traces have no reader yet; the end is not handed on.
            Event::Log(..) | Event::Trace(..) | Event::Signalled(..) | Event::Ended { .. } => {}
        }
        Ok(())
    }
}

/// How the runtime was lost, if it was: then there is nothing to be kept of its VM.
fn loss(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Trapped { reason } => Some(format!("the runtime was lost: {reason}")),
        Outcome::RuntimeExited { code } => Some(format!(
            "the code ended the runtime itself, as os._exit({code}) does"
        )),
        _ => None,
    }
}

fn result_of(ended: Ended) -> (ExecutionStatus, Option<String>, Vec<OutputFile>) {
    let files = ended.spilled.into_iter().map(OutputFile::from).collect();
    let exception = |exception: &str, message: String| ExecutionStatus::Exception {
        exception: exception.to_owned(),
        message,
    };
    let (status, value) = match ended.outcome {
        Outcome::Exited { code, value } => (ExecutionStatus::Exited { code }, value),
        Outcome::Exception { kind, message } => (exception(&kind, message), None),
        Outcome::Interrupted => (ExecutionStatus::Interrupted, None),
        // All of these are errors where the execution is followed.
        Outcome::Trapped { reason } => (exception("Trap", reason), None),
        Outcome::RuntimeExited { code } => (ExecutionStatus::Exited { code }, None),
        Outcome::Refused(refusal) => (exception("Refused", refusal.to_string()), None),
    };
    (status, value, files)
}
