//! What is known of a session, as its folder keeps it.
//!
//! ```text
//!   sessions/<id>/session.json          this record, replaced as a whole
//!                 journal.jsonl         one line when a command starts, one when it has ended
//!                 checkpoint-<n>/       the state after command n
//!                 snapshots/<id>/       named states
//! ```

use crate::{Guest, Result, SandboxError, SessionId, SessionName, SnapshotId, SnapshotName};
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use ukernel_image::ImageName;
use ukernel_machine::{SavedState, file};

/// Version of the record.
pub(super) const VERSION: u32 = 2;

const FILE: &str = "session.json";
/// A record is small; what is larger is none.
const MAX_BYTES: usize = 1 << 20;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) version: u32,
    pub(super) id: SessionId,
    pub(super) name: Option<SessionName>,
    /// User it belongs to.
    pub(super) owner: u32,
    /// What runs inside. Records of before there was a choice do not say.
    #[serde(default)]
    pub(super) guest: Guest,
    /// The user's image it was made with; the guest's own if `None`.
    #[serde(default)]
    pub(super) image: Option<ImageName>,
    /// What its states are differences from.
    pub(super) template: String,
    pub(super) created_ms: u64,
    pub(super) expires_ms: u64,
    pub(super) extensions: u32,
    /// Commands that were started.
    pub(super) commands: u64,
    /// Where a VM of this session starts; the template if `None`.
    pub(super) checkpoint: Option<Checkpoint>,
    /// In the order they were made.
    pub(super) snapshots: Vec<SnapshotRecord>,
    /// The snapshot the present state comes from.
    pub(super) parent: Option<SnapshotId>,
}

/// The state after a command.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Checkpoint {
    /// Commands whose effects are in it.
    pub(super) after: u64,
    /// Its folder.
    pub(super) folder: String,
    pub(super) state: SavedState,
}

/// A named state.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SnapshotRecord {
    pub(super) id: SnapshotId,
    pub(super) name: SnapshotName,
    pub(super) parent: Option<SnapshotId>,
    pub(super) created_ms: u64,
    /// Commands whose effects are in it.
    pub(super) after: u64,
    /// `None`: the template itself, from before the first command.
    pub(super) state: Option<SavedState>,
}

impl Record {
    /// Replaces the record of a folder.
    pub(super) fn save(&self, folder: &Path) -> Result<()> {
        let write = || -> std::io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.write_all(&serde_json::to_vec(self)?)?;
            file.persist(folder.join(FILE))?;
            Ok(())
        };
        write().map_err(|error| SandboxError::io("writing the record of a session", error))
    }

    /// Reads the record of a folder.
    pub(super) fn load(folder: &Path) -> Result<Self> {
        let damaged = |cause: String| SandboxError::Damaged {
            what: "the record of the session".to_owned(),
            cause,
        };
        let bytes = file::read(&folder.join(FILE), MAX_BYTES)
            .map_err(|error| damaged(error.to_string()))?;
        let record: Self =
            serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        if record.version != VERSION {
            return Err(damaged(format!("it is of version {}", record.version)));
        }
        if record
            .checkpoint
            .iter()
            .any(|checkpoint| checkpoint.folder != checkpoint_folder(checkpoint.after))
        {
            return Err(damaged("it names a strange folder".to_owned()));
        }
        Ok(record)
    }
}

/// Name of the folder of a checkpoint.
pub(super) fn checkpoint_folder(after: u64) -> String {
    format!("checkpoint-{after}")
}

/// Milliseconds since 1970.
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
