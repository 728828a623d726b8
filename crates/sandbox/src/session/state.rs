//! A session's state and what can be done to it, one thing at a time. Everything here blocks.
//!
//! ```text
//!            command            snapshot of the VM            loss of the VM
//!   CLEAN ───────────> DIRTY ────────────────────> CLEAN     DIRTY ─────────> CLEAN, at the
//!     │                  (checkpoint, before the                              last checkpoint
//!     └ the VM may be lost,      next command)
//!       nothing is
//! ```
//! Clean: the checkpoint on disk is the state. Dirty: the VM is ahead of it.

use super::journal::{Entry, Journal};
use super::output::Collector;
use super::record::{Checkpoint, Record, checkpoint_folder};
use super::stop::{Stop, Stopper};
use super::stored::{self, Seal};
use crate::config::SessionModel;
use crate::environment::{ExecutionResult, ExecutionStatus, OutputFile, OutputSink};
use crate::vm::{Vm, VmManager};
use crate::{Result, SandboxConfig, SandboxError, Standing};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use ukernel_abi::message::{Mode, Outcome};
use ukernel_machine::MachineError;
use ukernel_machine::guest::{Ended, Program};

/// How long an interrupted execution may take to end before its VM is.
const INTERRUPT_GRACE: Duration = Duration::from_secs(5);

/// A stored state larger than this is checked while a VM is started from it.
const CHECK_BESIDE_BYTES: u64 = 1 << 20;

/// An execution as it was asked for.
pub(super) struct Request {
    pub(super) mode: Mode,
    pub(super) source: String,
    pub(super) name: String,
    pub(super) args: Vec<String>,
    pub(super) timeout: Duration,
    pub(super) sink: Option<OutputSink>,
    pub(super) asked: Instant,
}

/// Where a VM can start from: a folder, unless it is the template, and commands in it.
pub(super) struct Origin {
    pub(super) stored: Option<(PathBuf, Seal)>,
    pub(super) after: u64,
    /// What it is, for people.
    pub(super) what: String,
}

impl Origin {
    /// Refuses one that is not what was stored.
    pub(super) fn check(&self) -> Result<()> {
        match &self.stored {
            Some((folder, seal)) => seal.check(folder, &self.what),
            None => Ok(()),
        }
    }
}

pub(super) struct State {
    pub(super) folder: PathBuf,
    pub(super) record: Record,
    journal: Journal,
    vm: Option<Vm>,
    is_dirty: bool,
    /// Why state was lost between commands, until somebody has heard of it.
    unsaid_loss: Option<String>,
    pub(super) has_ended: bool,
    vms: Arc<VmManager>,
    pub(super) config: Arc<SandboxConfig>,
}

impl State {
    pub(super) fn new(
        folder: PathBuf,
        record: Record,
        vms: Arc<VmManager>,
        config: Arc<SandboxConfig>,
    ) -> Result<Self> {
        Ok(Self {
            journal: Journal::open(&folder)?,
            folder,
            record,
            vm: None,
            is_dirty: false,
            unsaid_loss: None,
            has_ended: false,
            vms,
            config,
        })
    }

    /// Runs something.
    pub(super) fn execute(
        &mut self,
        request: &Request,
        stopper: &Stopper,
    ) -> Result<ExecutionResult> {
        self.check_alive()?;
        let checkpoint_error = if self.config.checkpoint_enabled {
            self.checkpoint().err().map(|error| error.to_string())
        } else {
            None
        };
        self.record.commands += 1;
        if let Some(reason) = self.unsaid_loss.take() {
            return Err(SandboxError::VmLost {
                reason,
                output: Box::default(),
                standing: self.standing(),
            });
        }
        let kind = match request.mode {
            Mode::Shell => "command",
            Mode::Prompt | Mode::Program => "code",
        };
        let started =
            self.journal
                .append(&Entry::start(self.record.commands, kind, &request.source));
        let checkpoint_error =
            checkpoint_error.or_else(|| started.err().map(|error| error.to_string()));
        let mut collector =
            Collector::new(request.sink.clone(), self.config.max_inline_output_bytes);
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
        let mut vm = self.take_vm().map_err(Failed::Sandbox)?;
        let program = Program {
            name: &request.name,
            source: request.source.as_bytes(),
            args: &request.args,
            mode: request.mode,
            inline_output_bytes: self.config.max_inline_output_bytes as u64,
        };
        let ran = run_in(&mut vm, &program, deadline, stopper, collector);
        match ran {
            Ok(ended) => {
                match self.config.backend.session_model {
                    SessionModel::Affinity => {
                        self.is_dirty = true;
                        self.vm = Some(vm);
                    }
                    SessionModel::Stateless => self.vms.end(vm),
                }
                Ok(ended)
            }
            Err(failed) => {
                self.vms.end(vm);
                self.is_dirty = false;
                Err(failed)
            }
        }
    }

    fn note_end(&mut self, how: &str) {
        // A journal that cannot be written makes recovery vaguer, not the command wrong.
        let _ = self.journal.append(&Entry::End {
            command: self.record.commands,
            how: how.to_owned(),
        });
    }

    /// Where the session stands if its VM is lost now.
    fn standing(&self) -> Standing {
        Standing {
            after: self.checkpointed(),
            run: self.record.commands,
        }
    }

    /// Commands whose effects are in the checkpoint.
    fn checkpointed(&self) -> u64 {
        let checkpoint = self.record.checkpoint.as_ref();
        checkpoint.map_or(0, |checkpoint| checkpoint.after)
    }

    pub(super) fn check_alive(&self) -> Result<()> {
        if self.has_ended {
            return Err(SandboxError::SessionEnded(self.record.id.to_string()));
        }
        Ok(())
    }

    /// The VM, or a new one at the checkpoint. Until it is put back the session has none.
    fn take_vm(&mut self) -> Result<Vm> {
        if let Some(mut vm) = self.vm.take() {
            if !vm.has_ended() {
                return Ok(vm);
            }
            self.vms.end(vm);
            if std::mem::take(&mut self.is_dirty) {
                return Err(SandboxError::VmLost {
                    reason: "it ended between commands".to_owned(),
                    output: Box::default(),
                    standing: self.standing(),
                });
            }
        }
        self.start_vm()
    }

    fn start_vm(&self) -> Result<Vm> {
        match &self.record.checkpoint {
            None => self.vms.allocate(),
            Some(checkpoint) => {
                let folder = self.folder.join(&checkpoint.folder);
                self.start_from(&folder, &checkpoint.seal, "the checkpoint")
            }
        }
    }

    /// A VM as it was stored, if that is still what was stored.
    fn start_from(&self, folder: &Path, seal: &Seal, what: &str) -> Result<Vm> {
        if seal.bytes < CHECK_BESIDE_BYTES {
            seal.check(folder, what)?;
            return self.vms.restore(folder);
        }
        // A VM of damaged files harms nobody in the moment it has before the checksum is known.
        std::thread::scope(|scope| {
            let check = scope.spawn(|| seal.check(folder, what));
            let vm = self.vms.restore(folder);
            let checked = check
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            match (checked, vm) {
                (Ok(()), vm) => vm,
                (Err(damaged), vm) => {
                    if let Ok(vm) = vm {
                        self.vms.end(vm);
                    }
                    Err(damaged)
                }
            }
        })
    }

    /// Makes the VM ready, so that what is wrong with it is heard now and the first command
    /// need not wait for it.
    pub(super) fn warm(&mut self) -> Result<()> {
        let vm = self.take_vm()?;
        self.vm = Some(vm);
        Ok(())
    }

    /// Gives the VM back; the next command starts another one where this one stood.
    pub(super) fn cool(&mut self) -> Result<()> {
        self.checkpoint()?;
        if let Some(vm) = self.vm.take() {
            self.vms.end(vm);
        }
        Ok(())
    }

    /// Writes down what the VM has become since the last checkpoint.
    pub(super) fn checkpoint(&mut self) -> Result<()> {
        if !self.is_dirty {
            return Ok(());
        }
        let Some(vm) = self.vm.as_mut() else {
            return Ok(());
        };
        let after = self.record.commands;
        let target = self.folder.join(checkpoint_folder(after));
        let written = stored::write_whole(&target, |folder| Ok(vm.snapshot(folder)?));
        let seal = match written {
            Ok(seal) => seal,
            Err(error) => {
                self.notice_loss(&error);
                return Err(error);
            }
        };
        self.switch_to(Some(Checkpoint {
            after,
            folder: checkpoint_folder(after),
            seal,
        }))?;
        self.is_dirty = false;
        Ok(())
    }

    /// A snapshot failed: because the VM is gone?
    fn notice_loss(&mut self, error: &SandboxError) {
        if let Some(mut vm) = self.vm.take_if(Vm::has_ended) {
            self.unsaid_loss = Some(match error {
                SandboxError::Machine(error) => vm.last_words(error),
                other => other.to_string(),
            });
            self.vms.end(vm);
            self.is_dirty = false;
        }
    }

    /// Makes `checkpoint` the one, on disk first, and forgets the one before.
    fn switch_to(&mut self, checkpoint: Option<Checkpoint>) -> Result<()> {
        let new = checkpoint.as_ref().map(|new| new.folder.clone());
        let before = std::mem::replace(&mut self.record.checkpoint, checkpoint);
        let saved = self.record.save(&self.folder);
        let unneeded = if saved.is_ok() {
            before.map(|before| before.folder)
        } else {
            self.record.checkpoint = before;
            new.clone()
        };
        if let Some(unneeded) = unneeded
            && (saved.is_err() || Some(&unneeded) != new.as_ref())
        {
            // What stays behind is removed with the session.
            let _ = stored::retire(&self.folder.join(unneeded));
        }
        saved
    }

    /// Where copies of this session, as it is now, start from.
    pub(super) fn origin(&mut self) -> Result<Origin> {
        self.check_alive()?;
        self.checkpoint()?;
        let stored = self.record.checkpoint.as_ref();
        Ok(Origin {
            stored: stored.map(|stored| (self.folder.join(&stored.folder), stored.seal.clone())),
            after: self.checkpointed(),
            what: "the checkpoint".to_owned(),
        })
    }

    /// Goes to a stored state. The VM of before is given up when the new one is there.
    pub(super) fn go_to(&mut self, origin: &Origin, label: &str) -> Result<()> {
        let vm = match &origin.stored {
            Some((folder, seal)) => self.start_from(folder, seal, &origin.what)?,
            None => self.vms.allocate()?,
        };
        let after = self.record.commands + 1;
        let checkpoint = match &origin.stored {
            Some((folder, seal)) => {
                let name = checkpoint_folder(after);
                stored::link(folder, &self.folder.join(&name))?;
                Some(Checkpoint {
                    after,
                    folder: name,
                    seal: seal.clone(),
                })
            }
            None => None,
        };
        self.record.commands = after;
        self.switch_to(checkpoint)?;
        // As `note_end`: the record is what counts.
        let _ = self.journal.append(&Entry::start(after, "rollback", label));
        self.note_end("ended");
        self.is_dirty = false;
        if let Some(before) = self.vm.replace(vm) {
            self.vms.end(before);
        }
        Ok(())
    }

    /// Works with the VM outside of an execution, as a command of its own.
    pub(super) fn with_vm<R>(
        &mut self,
        kind: &str,
        label: &str,
        work: impl FnOnce(&mut Vm) -> Result<R, MachineError>,
    ) -> Result<R> {
        self.check_alive()?;
        if self.config.checkpoint_enabled {
            self.checkpoint()?;
        }
        let mut vm = self.take_vm()?;
        self.record.commands += 1;
        // As `note_end`.
        let _ = self
            .journal
            .append(&Entry::start(self.record.commands, kind, label));
        let worked = work(&mut vm);
        self.note_end("ended");
        match worked {
            Ok(_) | Err(MachineError::GuestFile { .. }) => {
                self.is_dirty = true;
                self.vm = Some(vm);
            }
            Err(_) => {
                self.vms.end(vm);
                self.is_dirty = false;
            }
        }
        Ok(worked?)
    }

    /// Looks at the VM without changing what the session is.
    pub(super) fn look<R>(
        &mut self,
        look: impl FnOnce(&mut Vm) -> Result<R, MachineError>,
    ) -> Result<R> {
        self.check_alive()?;
        let mut vm = self.take_vm()?;
        let seen = look(&mut vm);
        match seen {
            Ok(_) | Err(MachineError::GuestFile { .. }) => self.vm = Some(vm),
            Err(_) => {
                self.vms.end(vm);
                self.is_dirty = false;
            }
        }
        Ok(seen?)
    }

    /// Ends the session: its VM and its folder go.
    pub(super) fn end(&mut self) -> Result<()> {
        self.has_ended = true;
        if let Some(vm) = self.vm.take() {
            self.vms.end(vm);
        }
        stored::remove(&self.folder)
            .map_err(|error| SandboxError::io("removing a session's folder", error))
    }

    /// Process of the VM, if there is one now.
    pub(super) fn process_id(&self) -> Option<u32> {
        self.vm.as_ref().map(Vm::process_id)
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
) -> Result<Ended, Failed> {
    let mut events = |event| collector.take(event);
    let mut ran = vm.exec(program, deadline, stopper.file(), &mut events);
    if matches!(ran, Err(MachineError::Cancelled)) {
        ran = match stopper.wanted() {
            Some(Stop::Interrupt) => {
                match vm.interrupt(Instant::now() + INTERRUPT_GRACE, &mut events) {
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
