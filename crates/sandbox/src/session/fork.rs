//! Copies of a session.

use super::checkpoint::Origin;
use super::journal::Entry;
use super::manager::{Base, SessionManager};
use super::record::{Checkpoint, checkpoint_folder};
use super::{Session, stored};
use crate::{Result, SandboxError, SessionId, SessionName, SnapshotId};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use ukernel_machine::file;

/// Most copies made at once.
const MAX_FORKS: usize = 64;

impl SessionManager {
    /// Makes `count` copies of a session, of what it is now or of one of its snapshots. They
    /// end with `parent`'s token, if one is given, else by themselves.
    ///
    /// # Errors
    /// As [`Self::create`]; then there is no copy.
    pub async fn fork(
        &self,
        session: &Session,
        from: Option<SnapshotId>,
        names: Vec<SessionName>,
        count: usize,
        parent: Option<&CancellationToken>,
    ) -> Result<Vec<Session>> {
        if !(1..=MAX_FORKS).contains(&count) || names.len() > count {
            return Err(SandboxError::Limit {
                what: "copies made at once, at least one",
                limit: MAX_FORKS as u64,
            });
        }
        let owner = session.inner.owner;
        let reserved = self.reserve(owner, names, count)?;
        let root = self.inner.root.clone();
        // While the session stands still: its next checkpoint would replace the files.
        let (base, origins) = session
            .work(move |state| {
                let origin = match from {
                    Some(id) => state.snapshot_origin(id)?,
                    None => state.origin()?,
                };
                state.check(&origin)?;
                // Its own VMs: the image's name may have gone to another one.
                let base = Base {
                    guest: state.record.guest,
                    image: state.record.image.clone(),
                    vms: Arc::clone(&state.vms),
                };
                let copies = (0..count)
                    .map(|_| begin_copy(&root, &origin))
                    .collect::<Result<Vec<_>>>()?;
                // As `note_end`.
                let _ = state.note(&Entry::Fork {
                    copies: copies.iter().map(|(id, _)| id.to_string()).collect(),
                    after: origin.after,
                });
                Ok((base, copies))
            })
            .await?;
        let mut making = tokio::task::JoinSet::new();
        for (at, (id, origin)) in origins.into_iter().enumerate() {
            let manager = self.clone();
            let name = reserved.names.get(at).cloned();
            let base = base.clone();
            let token = parent.map(CancellationToken::child_token);
            making
                .spawn_blocking(move || manager.make(owner, name, base, Some((id, origin)), token));
        }
        let mut copies = Vec::new();
        let mut failure = None;
        while let Some(made) = making.join_next().await {
            match made {
                Ok(Ok(copy)) => copies.push(copy),
                Ok(Err(error)) => failure = Some(error),
                Err(error) => {
                    failure = Some(SandboxError::io("a thread", std::io::Error::other(error)))
                }
            }
        }
        drop(reserved);
        if let Some(error) = failure {
            for copy in copies {
                self.destroy(&copy).await?;
            }
            return Err(error);
        }
        Ok(copies)
    }
}

/// Makes the folder of a copy and puts the state in it that it starts from.
fn begin_copy(root: &std::path::Path, origin: &Origin) -> Result<(SessionId, Option<Checkpoint>)> {
    let id = SessionId::random();
    let Some((source, state)) = &origin.stored else {
        return Ok((id, None));
    };
    let folder = root.join(id.to_string());
    file::make_folder(&folder)
        .map_err(|error| SandboxError::io(format!("making {}", folder.display()), error))?;
    let name = checkpoint_folder(origin.after);
    stored::link(source, &folder.join(&name))?;
    Ok((
        id,
        Some(Checkpoint {
            after: origin.after,
            folder: name,
            state: state.clone(),
        }),
    ))
}
