//! The state of a session on disk: written behind commands, gone back to when the VM is lost.

use super::journal::Entry;
use super::record::{Checkpoint, checkpoint_folder};
use super::state::{Phase, State};
use super::stored;
use crate::vm::Vm;
use crate::{Result, SandboxError, Standing};
use std::path::{Path, PathBuf};
use ukernel_machine::SavedState;

/// A stored state larger than this is checked while a VM is started from it.
const CHECK_BESIDE_BYTES: u64 = 1 << 20;

/// Where a VM can start from: a folder, unless it is the template, and commands in it.
pub(super) struct Origin {
    pub(super) stored: Option<(PathBuf, SavedState)>,
    pub(super) after: u64,
    /// What it is, for people.
    pub(super) what: String,
}

impl State {
    /// Refuses an origin that is not what was stored.
    pub(super) fn check(&self, origin: &Origin) -> Result<()> {
        match &origin.stored {
            Some((folder, state)) => self.vms.check(state, folder, &origin.what),
            None => Ok(()),
        }
    }

    /// Writes down what the VM has become since the last checkpoint. That its VM was lost is also
    /// told to whoever wants the VM next.
    pub(super) fn checkpoint(&mut self) -> Result<()> {
        let Phase::Dirty(vm) = &mut self.phase else {
            return Ok(());
        };
        let after = self.record.commands;
        let target = self.folder.join(checkpoint_folder(after));
        let vms = &self.vms;
        let written = stored::write_whole(&target, |folder| {
            vm.snapshot(folder)?;
            vms.seal(folder)
        });
        let state = written.map_err(|error| self.notice_loss(error))?;
        self.switch_to(Some(Checkpoint {
            after,
            folder: checkpoint_folder(after),
            state,
        }))?;
        self.phase = match std::mem::replace(&mut self.phase, Phase::Cold) {
            Phase::Dirty(vm) => Phase::Clean(vm),
            other => other,
        };
        Ok(())
    }

    /// The same for a caller who is told of a loss now.
    pub(super) fn checkpoint_now(&mut self) -> Result<()> {
        let written = self.checkpoint();
        self.tell_loss()?;
        written
    }

    /// A snapshot failed: because the VM is gone?
    fn notice_loss(&mut self, error: SandboxError) -> SandboxError {
        let vm = match std::mem::replace(&mut self.phase, Phase::Cold) {
            Phase::Dirty(vm) => vm,
            other => {
                self.phase = other;
                return error;
            }
        };
        if !vm.has_ended() {
            self.phase = Phase::Dirty(vm);
            return error;
        }
        let reason = match &error {
            SandboxError::Machine(error) => vm.last_words(error),
            other => other.to_string(),
        };
        self.vms.end(vm);
        self.phase = Phase::Lost(reason.clone());
        self.loss(reason)
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

    /// Where the session stands if its VM is lost now.
    pub(super) fn standing(&self) -> Standing {
        Standing {
            after: self.checkpointed(),
            run: self.record.commands,
        }
    }

    /// Commands whose effects are in the checkpoint.
    pub(super) fn checkpointed(&self) -> u64 {
        let checkpoint = self.record.checkpoint.as_ref();
        checkpoint.map_or(0, |checkpoint| checkpoint.after)
    }

    /// Where copies of this session, as it is now, start from.
    pub(super) fn origin(&mut self) -> Result<Origin> {
        self.check_alive()?;
        self.checkpoint_now()?;
        let stored = self.record.checkpoint.as_ref();
        Ok(Origin {
            stored: stored.map(|stored| (self.folder.join(&stored.folder), stored.state.clone())),
            after: self.checkpointed(),
            what: "the checkpoint".to_owned(),
        })
    }

    /// Goes to a stored state. The VM of before is given up when the new one is there.
    pub(super) fn go_to(&mut self, origin: &Origin, label: &str) -> Result<()> {
        let vm = match &origin.stored {
            Some((folder, state)) => self.start_from(folder, state, &origin.what)?,
            None => self.vms.allocate()?,
        };
        let after = self.record.commands + 1;
        let checkpoint = match &origin.stored {
            Some((folder, state)) => {
                let name = checkpoint_folder(after);
                stored::link(folder, &self.folder.join(&name))?;
                Some(Checkpoint {
                    after,
                    folder: name,
                    state: state.clone(),
                })
            }
            None => None,
        };
        self.record.commands = after;
        self.switch_to(checkpoint)?;
        // As `note_end`: the record is what counts.
        let _ = self.note(&Entry::start(after, "rollback", label));
        self.note_end("ended");
        match std::mem::replace(&mut self.phase, Phase::Clean(vm)) {
            Phase::Clean(before) | Phase::Dirty(before) => self.vms.end(before),
            Phase::Cold | Phase::Lost(_) | Phase::Ended => {}
        }
        Ok(())
    }

    pub(super) fn start_vm(&self) -> Result<Vm> {
        match &self.record.checkpoint {
            None => self.vms.allocate(),
            Some(checkpoint) => {
                let folder = self.folder.join(&checkpoint.folder);
                self.start_from(&folder, &checkpoint.state, "the checkpoint")
            }
        }
    }

    /// A VM as it was stored, if that is still what was stored.
    fn start_from(&self, folder: &Path, state: &SavedState, what: &str) -> Result<Vm> {
        if state.bytes < CHECK_BESIDE_BYTES || state.is_fresh(folder) {
            self.vms.check(state, folder, what)?;
            return self.vms.restore(folder);
        }
        // A VM of damaged files harms nobody in the moment it has before the checksum is known.
        std::thread::scope(|scope| {
            let vms = &self.vms;
            let check = scope.spawn(|| vms.check(state, folder, what));
            let vm = vms.restore(folder);
            let checked = check
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            match (checked, vm) {
                (Ok(()), vm) => vm,
                (Err(damaged), vm) => {
                    if let Ok(vm) = vm {
                        vms.end(vm);
                    }
                    Err(damaged)
                }
            }
        })
    }
}
