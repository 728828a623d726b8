//! What callers are told about sessions and snapshots.

use crate::{Guest, SessionId, SessionName, SnapshotId, SnapshotName};
use serde::{Deserialize, Serialize};
use ukernel_image::ImageName;

/// A session, for lists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionInfo {
    /// Its id.
    pub id: SessionId,
    /// Its name, if it has one.
    pub name: Option<SessionName>,
    /// What runs inside.
    #[serde(default)]
    pub guest: Guest,
    /// The user's image it was made with; the guest's own if `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageName>,
    /// Whether something runs now.
    pub is_running: bool,
    /// Commands that were run.
    pub commands: u64,
    /// Snapshots it has.
    pub snapshots: usize,
    /// When it was made, milliseconds since 1970.
    pub created_ms: u64,
    /// Seconds until it ends by itself.
    pub remaining_s: u64,
    /// Extensions it has left.
    pub extensions_left: u32,
    /// Process of its VM, if it has one now.
    pub process: Option<u32>,
    /// What came of it when the daemon was started again, if it was.
    pub recovered: Option<String>,
}

/// A session that a restart could not bring back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostSession {
    /// Its id, as its folder was called.
    pub id: String,
    /// Its name, if it had one and that is known.
    pub name: Option<SessionName>,
    /// User it belonged to, if that is known.
    pub owner: Option<u32>,
    /// Why it is lost.
    pub reason: String,
}

/// A snapshot, for lists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotInfo {
    /// Its id.
    pub id: SnapshotId,
    /// Its name.
    pub name: SnapshotName,
    /// The snapshot the session had come from.
    pub parent: Option<SnapshotId>,
    /// When it was made, milliseconds since 1970.
    pub created_ms: u64,
    /// Length on disk, in bytes.
    pub bytes: u64,
    /// Whether the session's state comes from it.
    pub is_current: bool,
}
