//! A session's state and what can be done to it, one thing at a time. Everything here blocks.
//!
//! ```text
//!            start            command           checkpoint
//!   COLD ──────────> CLEAN ───────────> DIRTY ─────────────> CLEAN
//!     ^                │ the VM is lost   │ the VM is lost
//!     └────────────────┘                  v
//!     └───────── somebody was told ──── LOST         any ── end ──> ENDED
//! ```
//! The session is its last checkpoint on disk, but for what a dirty VM has done since.

use super::journal::{Entry, Journal};
use super::record::Record;
use super::stored;
use crate::vm::{Vm, VmManager};
use crate::{Result, SandboxConfig, SandboxError};
use std::path::PathBuf;
use std::sync::Arc;
use ukernel_machine::MachineError;

/// Where a session's VM is.
pub(super) enum Phase {
    /// There is none: the next command starts one at the checkpoint.
    Cold,
    /// It is as the checkpoint: losing it loses nothing.
    Clean(Vm),
    /// It is ahead of the checkpoint.
    Dirty(Vm),
    /// A dirty one was lost, for this reason, and nobody has been told yet.
    Lost(String),
    /// The session has ended.
    Ended,
}

/// A VM while something is done with it; until it is given back the session is cold.
pub(super) struct Lease {
    pub(super) vm: Vm,
    was_dirty: bool,
}

pub(super) struct State {
    pub(super) folder: PathBuf,
    pub(super) record: Record,
    /// Until the session ends: then it is kept as a receipt.
    journal: Option<Journal>,
    pub(super) phase: Phase,
    /// Whether a checkpoint is written before each command.
    pub(super) keeps_checkpoints: bool,
    pub(super) vms: Arc<VmManager>,
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
            journal: Some(Journal::open(&folder)?),
            folder,
            record,
            phase: Phase::Cold,
            keeps_checkpoints: config.checkpoint_enabled,
            vms,
            config,
        })
    }

    pub(super) fn note_end(&mut self, how: &str) {
        // A journal that cannot be written makes recovery vaguer, not the command wrong; it tells of the gap.
        let _ = self.note(&Entry::End {
            command: self.record.commands,
            how: how.to_owned(),
        });
    }

    /// Writes an entry to the journal.
    pub(super) fn note(&mut self, entry: &Entry) -> Result<()> {
        match &mut self.journal {
            Some(journal) => journal.append(entry),
            None => self.check_alive(),
        }
    }

    pub(super) fn check_alive(&self) -> Result<()> {
        if matches!(self.phase, Phase::Ended) {
            return Err(SandboxError::SessionEnded(self.record.id.to_string()));
        }
        Ok(())
    }

    /// The VM, if there is one that lives.
    pub(super) fn lease_at_once(&mut self) -> Option<Lease> {
        let (Phase::Clean(vm) | Phase::Dirty(vm)) = &self.phase else {
            return None;
        };
        if vm.has_ended() {
            return None;
        }
        match std::mem::replace(&mut self.phase, Phase::Cold) {
            Phase::Clean(vm) => Some(Lease {
                vm,
                was_dirty: false,
            }),
            Phase::Dirty(vm) => Some(Lease {
                vm,
                was_dirty: true,
            }),
            Phase::Cold | Phase::Lost(_) | Phase::Ended => None,
        }
    }

    /// The VM, or a new one at the checkpoint.
    pub(super) fn lease(&mut self) -> Result<Lease> {
        self.check_alive()?;
        self.tell_loss()?;
        if let Some(lease) = self.lease_at_once() {
            return Ok(lease);
        }
        match std::mem::replace(&mut self.phase, Phase::Cold) {
            Phase::Dirty(vm) => {
                self.vms.end(vm);
                return Err(self.loss("it ended between commands".to_owned()));
            }
            Phase::Clean(vm) => self.vms.end(vm),
            Phase::Cold | Phase::Lost(_) | Phase::Ended => {}
        }
        Ok(Lease {
            vm: self.start_vm()?,
            was_dirty: false,
        })
    }

    /// Takes a VM back in which a command has run.
    pub(super) fn give_back_used(&mut self, lease: Lease) {
        self.phase = Phase::Dirty(lease.vm);
    }

    /// Takes a VM back that is as it was.
    pub(super) fn give_back(&mut self, Lease { vm, was_dirty }: Lease) {
        self.phase = if was_dirty {
            Phase::Dirty(vm)
        } else {
            Phase::Clean(vm)
        };
    }

    /// Ends a VM that is not given back: the session stands at its checkpoint.
    pub(super) fn give_up(&mut self, lease: Lease) {
        self.vms.end(lease.vm);
    }

    /// The error of a VM that failed while it was leased.
    fn fail(&mut self, lease: Lease, error: &MachineError) -> SandboxError {
        let reason = lease.vm.last_words(error);
        self.give_up(lease);
        self.loss(reason)
    }

    /// The loss of a VM, outside of an execution.
    pub(super) fn loss(&self, reason: String) -> SandboxError {
        SandboxError::VmLost {
            reason,
            output: Box::default(),
            standing: self.standing(),
        }
    }

    /// Fails with a loss nobody has been told of yet.
    pub(super) fn tell_loss(&mut self) -> Result<()> {
        match std::mem::replace(&mut self.phase, Phase::Cold) {
            Phase::Lost(reason) => Err(self.loss(reason)),
            other => {
                self.phase = other;
                Ok(())
            }
        }
    }

    /// Makes the VM ready, so that what is wrong with it is heard now and the first command
    /// need not wait for it.
    pub(super) fn warm(&mut self) -> Result<()> {
        let lease = self.lease()?;
        self.give_back(lease);
        Ok(())
    }

    /// Gives the VM back; the next command starts another one where this one stood.
    pub(super) fn cool(&mut self) -> Result<()> {
        self.checkpoint()?;
        self.end_vm();
        Ok(())
    }

    fn end_vm(&mut self) {
        match std::mem::replace(&mut self.phase, Phase::Cold) {
            Phase::Clean(vm) | Phase::Dirty(vm) => self.vms.end(vm),
            other => self.phase = other,
        }
    }

    /// Works with the VM outside of an execution, as a command of its own.
    pub(super) fn with_vm<R>(
        &mut self,
        kind: &str,
        label: &str,
        work: impl FnOnce(&mut Vm) -> Result<R, MachineError>,
    ) -> Result<R> {
        self.check_alive()?;
        if self.keeps_checkpoints {
            self.checkpoint_now()?;
        }
        let mut lease = self.lease()?;
        self.record.commands += 1;
        // As `note_end`.
        let _ = self.note(&Entry::start(self.record.commands, kind, label));
        match work(&mut lease.vm) {
            Err(error) if !matches!(error, MachineError::GuestFile { .. }) => {
                self.note_end("lost");
                Err(self.fail(lease, &error))
            }
            worked => {
                self.note_end("ended");
                self.give_back_used(lease);
                Ok(worked?)
            }
        }
    }

    /// Looks at the VM without changing what the session is.
    pub(super) fn look<R>(
        &mut self,
        look: impl FnOnce(&mut Vm) -> Result<R, MachineError>,
    ) -> Result<R> {
        let mut lease = self.lease()?;
        match look(&mut lease.vm) {
            Err(error) if !matches!(error, MachineError::GuestFile { .. }) => {
                Err(self.fail(lease, &error))
            }
            seen => {
                self.give_back(lease);
                Ok(seen?)
            }
        }
    }

    /// Ends the session: its VM and its folder go.
    pub(super) fn end(&mut self) -> Result<()> {
        self.end_vm();
        self.phase = Phase::Ended;
        if let Some(journal) = self.journal.take() {
            journal.keep(self.record.id)?;
        }
        stored::remove(&self.folder)
            .map_err(|error| SandboxError::io("removing a session's folder", error))
    }

    /// Process of the VM, if there is one now.
    pub(super) fn process_id(&self) -> Option<u32> {
        match &self.phase {
            Phase::Clean(vm) | Phase::Dirty(vm) => Some(vm.process_id()),
            Phase::Cold | Phase::Lost(_) | Phase::Ended => None,
        }
    }
}
