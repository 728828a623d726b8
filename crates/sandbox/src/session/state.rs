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
use super::record::Record;
use super::stored;
use crate::vm::{Vm, VmManager};
use crate::{Result, SandboxConfig, SandboxError};
use std::path::PathBuf;
use std::sync::Arc;
use ukernel_machine::MachineError;

pub(super) struct State {
    pub(super) folder: PathBuf,
    pub(super) record: Record,
    pub(super) journal: Journal,
    pub(super) vm: Option<Vm>,
    pub(super) is_dirty: bool,
    /// Whether a checkpoint is written before each command.
    pub(super) keeps_checkpoints: bool,
    /// Why state was lost between commands, until somebody has heard of it.
    pub(super) unsaid_loss: Option<String>,
    pub(super) has_ended: bool,
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
            journal: Journal::open(&folder)?,
            folder,
            record,
            vm: None,
            is_dirty: false,
            keeps_checkpoints: config.checkpoint_enabled,
            unsaid_loss: None,
            has_ended: false,
            vms,
            config,
        })
    }

    pub(super) fn note_end(&mut self, how: &str) {
        // A journal that cannot be written makes recovery vaguer, not the command wrong.
        let _ = self.journal.append(&Entry::End {
            command: self.record.commands,
            how: how.to_owned(),
        });
    }

    pub(super) fn check_alive(&self) -> Result<()> {
        if self.has_ended {
            return Err(SandboxError::SessionEnded(self.record.id.to_string()));
        }
        Ok(())
    }

    /// The VM, or a new one at the checkpoint. Until it is put back the session has none.
    pub(super) fn take_vm(&mut self) -> Result<Vm> {
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

    /// Works with the VM outside of an execution, as a command of its own.
    pub(super) fn with_vm<R>(
        &mut self,
        kind: &str,
        label: &str,
        work: impl FnOnce(&mut Vm) -> Result<R, MachineError>,
    ) -> Result<R> {
        self.check_alive()?;
        if self.keeps_checkpoints {
            self.checkpoint()?;
        }
        let mut vm = self.take_vm()?;
        self.record.commands += 1;
        // As `note_end`.
        let _ = self
            .journal
            .append(&Entry::start(self.record.commands, kind, label));
        let worked = work(&mut vm);
        match worked {
            Ok(_) | Err(MachineError::GuestFile { .. }) => {
                self.is_dirty = true;
                self.vm = Some(vm);
                self.note_end("ended");
            }
            Err(_) => {
                self.vms.end(vm);
                self.is_dirty = false;
                self.note_end("lost");
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
