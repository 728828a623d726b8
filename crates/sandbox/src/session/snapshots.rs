//! Named snapshots: a tree, each of its states whole by itself.

use super::checkpoint::Origin;
use super::journal::Entry;
use super::record::{SnapshotRecord, now_ms};
use super::state::State;
use super::{Session, SnapshotInfo, stored};
use crate::{Result, SandboxError, SnapshotId, SnapshotName};
use std::path::PathBuf;
use ukernel_machine::file;

const FOLDER: &str = "snapshots";

impl Session {
    /// Keeps the state of now under a name.
    ///
    /// # Errors
    /// [`SandboxError::NameTaken`], [`SandboxError::Limit`], [`SandboxError::Io`]: the session
    /// goes on as it was.
    pub async fn snapshot(&self, name: SnapshotName) -> Result<SnapshotId> {
        self.work(move |state| state.snapshot(name)).await
    }

    /// Goes back to a snapshot.
    ///
    /// # Errors
    /// [`SandboxError::NoSnapshot`], [`SandboxError::Busy`] during an execution,
    /// [`SandboxError::Damaged`]: the session goes on as it was.
    pub async fn rollback(&self, id: SnapshotId) -> Result<()> {
        if self.is_running() {
            return Err(SandboxError::Busy(self.label()));
        }
        self.work(move |state| state.rollback(id)).await
    }

    /// Its snapshots, oldest first.
    ///
    /// # Errors
    /// [`SandboxError::SessionEnded`].
    pub async fn list_snapshots(&self) -> Result<Vec<SnapshotInfo>> {
        self.work(|state| {
            state.check_alive()?;
            Ok(state
                .record
                .snapshots
                .iter()
                .map(|snapshot| SnapshotInfo {
                    id: snapshot.id,
                    name: snapshot.name.clone(),
                    parent: snapshot.parent,
                    created_ms: snapshot.created_ms,
                    bytes: snapshot.state.as_ref().map_or(0, |state| state.bytes),
                    is_current: state.record.parent == Some(snapshot.id),
                })
                .collect())
        })
        .await
    }

    /// Forgets a snapshot. Those that came from it stay.
    ///
    /// # Errors
    /// [`SandboxError::NoSnapshot`], [`SandboxError::Io`].
    pub async fn delete_snapshot(&self, id: SnapshotId) -> Result<()> {
        self.work(move |state| state.delete_snapshot(id)).await
    }
}

impl State {
    fn snapshot(&mut self, name: SnapshotName) -> Result<SnapshotId> {
        self.check_alive()?;
        let most = self.config.max_snapshots_per_session;
        if self.record.snapshots.iter().any(|taken| taken.name == name) {
            return Err(SandboxError::NameTaken {
                what: "snapshot",
                name: name.to_string(),
            });
        }
        if self.record.snapshots.len() >= most as usize {
            return Err(SandboxError::Limit {
                what: "snapshots of a session",
                limit: most.into(),
            });
        }
        let Origin { stored, after, .. } = self.origin()?;
        let id = SnapshotId::random();
        let noted = name.to_string();
        if let Some((folder, _)) = &stored {
            let parent = self.folder.join(FOLDER);
            file::make_folder(&parent)
                .map_err(|error| SandboxError::io(format!("making {}", parent.display()), error))?;
            stored::link(folder, &self.snapshot_folder(id))?;
        }
        self.record.snapshots.push(SnapshotRecord {
            id,
            name,
            parent: self.record.parent,
            created_ms: now_ms(),
            after,
            state: stored.map(|(_, state)| state),
        });
        let before = self.record.parent.replace(id);
        if let Err(error) = self.record.save(&self.folder) {
            self.record.snapshots.pop();
            self.record.parent = before;
            // What stays behind is removed with the session.
            let _ = stored::remove(&self.snapshot_folder(id));
            return Err(error);
        }
        // As `note_end`.
        let _ = self.note(&Entry::Snapshot {
            id: id.to_string(),
            name: noted,
            after,
        });
        Ok(id)
    }

    fn rollback(&mut self, id: SnapshotId) -> Result<()> {
        self.check_alive()?;
        let origin = self.snapshot_origin(id)?;
        let label = id.to_string();
        let before = self.record.parent.replace(id);
        let gone = self.go_to(&origin, &label);
        if gone.is_err() {
            self.record.parent = before;
        }
        gone
    }

    /// A snapshot to start from.
    pub(super) fn snapshot_origin(&self, id: SnapshotId) -> Result<Origin> {
        let snapshot = self
            .record
            .snapshots
            .iter()
            .find(|snapshot| snapshot.id == id)
            .ok_or_else(|| SandboxError::NoSnapshot(id.to_string()))?;
        let folder = self.snapshot_folder(id);
        Ok(Origin {
            stored: snapshot.state.clone().map(|state| (folder, state)),
            after: snapshot.after,
            what: format!("snapshot {}", snapshot.name),
        })
    }

    fn delete_snapshot(&mut self, id: SnapshotId) -> Result<()> {
        self.check_alive()?;
        let before = self.record.clone();
        self.record.snapshots.retain(|snapshot| snapshot.id != id);
        if self.record.snapshots.len() == before.snapshots.len() {
            return Err(SandboxError::NoSnapshot(id.to_string()));
        }
        if self.record.parent == Some(id) {
            self.record.parent = None;
        }
        if let Err(error) = self.record.save(&self.folder) {
            self.record = before;
            return Err(error);
        }
        stored::remove(&self.snapshot_folder(id))
            .map_err(|error| SandboxError::io("removing a snapshot", error))
    }

    fn snapshot_folder(&self, id: SnapshotId) -> PathBuf {
        self.folder.join(FOLDER).join(id.to_string())
    }
}
