//! `rlm_context` and `rlm_snapshot`.

use super::Desk;
use crate::args::{ContextAction, ContextArgs, SnapshotAction, SnapshotArgs};
use crate::replies::{Failure, Reply, Snapshot, Snapshots, Status, Variables};
use terraphim_rlm::{RlmError, SnapshotId, SnapshotInfo};

/// Characters of a variable that come back at once, if the caller does not say, and at most.
const PIECE_CHARS: u64 = 64 << 10;
const MAX_PIECE_CHARS: u64 = 1 << 20;

fn failed(error: &RlmError) -> Failure {
    Failure::of(error)
}

impl Desk {
    pub(crate) async fn context(&self, args: ContextArgs) -> Result<Reply<Variables>, Failure> {
        let handle = args.session.as_deref();
        let session = match args.action {
            ContextAction::Set => self.session_or_new(handle).await?,
            ContextAction::Get | ContextAction::List => {
                let found = self.session_if_any(handle).await?;
                found.ok_or_else(|| Failure::arguments("`session` is missing: which one?"))?
            }
        };
        let rlm = self.rlm().await?;
        let mut told = Variables::default();
        match args.action {
            ContextAction::List => {
                let listed = rlm.list_context(session.id).await;
                told.variables = Some(listed.map_err(|error| failed(&error))?);
            }
            ContextAction::Set => {
                let name = named(args.name)?;
                let value = args
                    .value
                    .ok_or_else(|| Failure::arguments("`value` is missing: set to what?"))?;
                let set = rlm.set_context(session.id, &name, &value).await;
                set.map_err(|error| failed(&error))?;
            }
            ContextAction::Get => {
                let name = named(args.name)?;
                let length = args.length.unwrap_or(PIECE_CHARS);
                if length == 0 || length > MAX_PIECE_CHARS {
                    let message = format!("length is not between 1 and {MAX_PIECE_CHARS}");
                    return Err(Failure::arguments(message));
                }
                let found = rlm.get_context(session.id, &name).await;
                let text = found.map_err(|error| failed(&error))?;
                told.found = Some(text.is_some());
                if let Some(text) = text {
                    told.characters = Some(text.chars().count() as u64);
                    let offset = usize::try_from(args.offset.unwrap_or(0)).unwrap_or(usize::MAX);
                    let length = usize::try_from(length).unwrap_or(usize::MAX);
                    told.value = Some(text.chars().skip(offset).take(length).collect());
                }
            }
        }
        Ok(Reply::new(Status::Ok, Some(session.handle), told))
    }

    pub(crate) async fn snapshot(&self, args: SnapshotArgs) -> Result<Reply<Snapshots>, Failure> {
        let found = self.session_if_any(args.session.as_deref()).await?;
        let session =
            found.ok_or_else(|| Failure::arguments("`session` is missing: which one?"))?;
        let rlm = self.rlm().await?;
        match args.action {
            SnapshotAction::List => {}
            SnapshotAction::Create => {
                let name = named(args.name)?;
                let made = rlm.create_snapshot(session.id, &name).await;
                made.map_err(|error| failed(&error))?;
            }
            SnapshotAction::Restore => {
                let name = named(args.name)?;
                let listed = rlm.list_snapshots(session.id).await;
                let id = find(&listed.map_err(|error| failed(&error))?, &name)?;
                let restored = rlm.restore_snapshot(session.id, &id).await;
                restored.map_err(|error| failed(&error))?;
            }
        }
        let listed = rlm.list_snapshots(session.id).await;
        let told = Snapshots {
            snapshots: Some(shown(listed.map_err(|error| failed(&error))?)),
        };
        Ok(Reply::new(Status::Ok, Some(session.handle), told))
    }
}

fn named(name: Option<String>) -> Result<String, Failure> {
    name.ok_or_else(|| Failure::arguments("`name` is missing"))
}

fn find(snapshots: &[SnapshotInfo], name: &str) -> Result<SnapshotId, Failure> {
    let found = snapshots.iter().find(|one| one.name.as_str() == name);
    found.map(|one| one.id).ok_or_else(|| {
        let shown: String = name.escape_debug().take(80).collect();
        Failure::new(
            terraphim_rlm::ErrorCode::NO_SNAPSHOT,
            format!("there is no snapshot `{shown}` in this session"),
        )
    })
}

pub(crate) fn shown(snapshots: Vec<SnapshotInfo>) -> Vec<Snapshot> {
    let shown = snapshots.into_iter().map(|one| Snapshot {
        name: one.name.to_string(),
        created_ms: one.created_ms,
        bytes: one.bytes,
        is_current: one.is_current,
    });
    shown.collect()
}
