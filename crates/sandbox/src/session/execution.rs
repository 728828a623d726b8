//! One execution in a session: the checkpoint before it, its run, how it ended.

use super::calls::Caller;
use super::journal::Entry;
use super::output::Collector;
use super::state::State;
use super::stop::{Stop, Stopper};
use crate::config::SessionModel;
use crate::environment::{ExecutionResult, ExecutionStatus, HostCalls, OutputFile, OutputSink};
use crate::vm::Vm;
use crate::{Result, SandboxError};
use std::sync::Arc;
use std::time::{Duration, Instant};
use ukernel_abi::message::{Mode, Outcome};
use ukernel_machine::MachineError;
use ukernel_machine::guest::{Ended, Event, Program};

/// How long an interrupted execution may take to end before its VM is.
const INTERRUPT_GRACE: Duration = Duration::from_secs(5);

/// An execution as it was asked for.
pub(super) struct Request {
    pub(super) mode: Mode,
    pub(super) source: String,
    pub(super) name: String,
    pub(super) args: Vec<String>,
    pub(super) timeout: Duration,
    pub(super) sink: Option<OutputSink>,
    pub(super) inline_output_bytes: usize,
    pub(super) calls: Option<Arc<dyn HostCalls>>,
    pub(super) asked: Instant,
}

impl State {
    /// Runs something.
    pub(super) fn execute(
        &mut self,
        request: &Request,
        stopper: &Stopper,
    ) -> Result<ExecutionResult> {
        self.check_alive()?;
        let checkpoint_error = if self.keeps_checkpoints {
            self.checkpoint().err().map(|error| error.to_string())
        } else {
            None
        };
        self.record.commands += 1;
        let kind = match request.mode {
            Mode::Shell => "command",
            Mode::Prompt | Mode::Program => "code",
        };
        let started =
            self.journal
                .append(&Entry::start(self.record.commands, kind, &request.source));
        let checkpoint_error =
            checkpoint_error.or_else(|| started.err().map(|error| error.to_string()));
        let mut collector = Collector::new(request.sink.clone(), request.inline_output_bytes);
        let began = Instant::now();
        let ran = self.run(request, stopper, &mut collector);
        let run_ms = began.elapsed().as_secs_f64() * 1e3;
        self.note_end(match &ran {
            Ok(_) => "ended",
            Err(_) => "lost",
        });
        let output = collector.finish();
        let standing = self.standing();
        let output_of_failure = || Box::new(output.clone());
        let (status, value, files) = match ran {
            Ok(ended) => result_of(ended),
            Err(Failed::Sandbox(error)) => return Err(error),
            Err(Failed::TimeLimit) => {
                return Err(SandboxError::TimeLimit {
                    limit: request.timeout,
                    output: output_of_failure(),
                    standing,
                });
            }
            Err(Failed::Cancelled) => {
                return Err(SandboxError::Cancelled {
                    output: output_of_failure(),
                    standing,
                });
            }
            Err(Failed::Lost(reason)) => {
                return Err(SandboxError::VmLost {
                    reason,
                    output: output_of_failure(),
                    standing,
                });
            }
        };
        Ok(ExecutionResult {
            output,
            status,
            value,
            files,
            command: self.record.commands,
            total_ms: request.asked.elapsed().as_secs_f64() * 1e3,
            run_ms,
            checkpoint_error,
        })
    }

    fn run(
        &mut self,
        request: &Request,
        stopper: &Stopper,
        collector: &mut Collector,
    ) -> Result<Ended, Failed> {
        let deadline = Instant::now() + request.timeout;
        let mut caller =
            Caller::new(request.calls.clone()).map_err(|error| Failed::Sandbox(error.into()))?;
        let mut lease = self.lease().map_err(Failed::Sandbox)?;
        let program = Program {
            name: &request.name,
            source: request.source.as_bytes(),
            args: &request.args,
            mode: request.mode,
            inline_output_bytes: request.inline_output_bytes as u64,
            token: request.calls.as_ref().map(|calls| calls.token()),
        };
        let ran = run_in(
            &mut lease.vm,
            &program,
            deadline,
            stopper,
            collector,
            &mut caller,
        );
        // Nobody waits for what is not answered now.
        caller.end();
        match ran {
            Ok(ended) => {
                match self.config.backend.session_model {
                    SessionModel::Affinity => self.give_back_used(lease),
                    SessionModel::Stateless => self.give_up(lease),
                }
                Ok(ended)
            }
            Err(failed) => {
                self.give_up(lease);
                Err(failed)
            }
        }
    }
}

/// Why an execution has no result.
enum Failed {
    TimeLimit,
    Cancelled,
    Lost(String),
    Sandbox(SandboxError),
}

fn run_in(
    vm: &mut Vm,
    program: &Program<'_>,
    deadline: Instant,
    stopper: &Stopper,
    collector: &mut Collector,
    caller: &mut Caller,
) -> Result<Ended, Failed> {
    let answers = caller.answers();
    let mut events = |event| match event {
        Event::Call(call) => {
            caller.take(call);
            Ok(())
        }
        other => collector.take(other),
    };
    let mut ran = vm.exec(program, deadline, stopper.file(), &answers, &mut events);
    if matches!(ran, Err(MachineError::Cancelled)) {
        ran = match stopper.wanted() {
            Some(Stop::Interrupt) => {
                match vm.interrupt(Instant::now() + INTERRUPT_GRACE, &answers, &mut events) {
                    Err(MachineError::TimedOut(_)) => {
                        return Err(Failed::Lost("it did not heed the interrupt".to_owned()));
                    }
                    other => other,
                }
            }
            Some(Stop::Kill) | None => return Err(Failed::Cancelled),
        };
    }
    match ran {
        Ok(Ended {
            outcome: Outcome::Trapped { reason },
            ..
        }) => Err(Failed::Lost(format!(
            "the Python runtime was lost: {reason}"
        ))),
        Ok(ended) => Ok(ended),
        Err(MachineError::TimedOut(_)) if Instant::now() >= deadline => Err(Failed::TimeLimit),
        Err(error) => Err(Failed::Lost(vm.last_words(&error))),
    }
}

fn result_of(ended: Ended) -> (ExecutionStatus, Option<String>, Vec<OutputFile>) {
    let files = ended.spilled.into_iter().map(OutputFile::from).collect();
    let (status, value) = match ended.outcome {
        Outcome::Exited { code, value } => (ExecutionStatus::Exited { code }, value),
        Outcome::Exception { kind, message } => (
            ExecutionStatus::Exception {
                exception: kind,
                message,
            },
            None,
        ),
        Outcome::Interrupted => (ExecutionStatus::Interrupted, None),
        // Handled where the VM is given up.
        Outcome::Trapped { reason } => (
            ExecutionStatus::Exception {
                exception: "Trap".to_owned(),
                message: reason,
            },
            None,
        ),
    };
    (status, value, files)
}
