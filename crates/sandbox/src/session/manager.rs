//! Owner of sessions: who has which, how long, and where they are kept.

use super::checkpoint::Origin;
use super::record::{Checkpoint, Record, VERSION, checkpoint_folder, now_ms};
use super::recovery::{self, EXPIRED};
use super::state::State;
use super::{LostSession, Session, SessionInfo, Stop, blocking, stored};
use crate::vm::{PoolMetrics, VmManager};
use crate::{Result, SandboxConfig, SandboxError, SessionId, SessionName, SnapshotId};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How long commands may go on after the manager was told to stop.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// Most copies made at once.
pub const MAX_FORKS: usize = 64;

/// A session to be made.
#[derive(Clone, Debug, Default)]
pub struct Create {
    /// What it is called.
    pub name: Option<SessionName>,
    /// User it belongs to.
    pub owner: u32,
}

/// Makes, finds, keeps and ends sessions.
#[derive(Clone)]
pub struct SessionManager {
    inner: Arc<Inner>,
}

struct Inner {
    root: PathBuf,
    vms: Arc<VmManager>,
    config: Arc<SandboxConfig>,
    token: CancellationToken,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    sessions: HashMap<SessionId, Session>,
    lost: Vec<LostSession>,
    /// Names of sessions that are being made.
    reserved: HashSet<(u32, SessionName)>,
    /// Sessions that are being made, by owner.
    in_the_making: HashMap<u32, usize>,
}

impl SessionManager {
    /// Brings back the sessions kept under `root`, on which no other manager may work.
    ///
    /// # Errors
    /// [`SandboxError::Config`], [`SandboxError::Io`].
    pub fn open(root: PathBuf, vms: Arc<VmManager>, config: SandboxConfig) -> Result<Self> {
        if let Some(problem) = config.problem() {
            return Err(SandboxError::Config(problem));
        }
        let failed =
            |error: std::io::Error| SandboxError::io(format!("in {}", root.display()), error);
        fs::create_dir_all(&root).map_err(failed)?;
        let folders: Vec<PathBuf> = fs::read_dir(&root)
            .map_err(failed)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<std::io::Result<_>>()
            .map_err(failed)?;
        let manager = Self {
            inner: Arc::new(Inner {
                root,
                vms,
                config: Arc::new(config),
                token: CancellationToken::new(),
                table: Mutex::new(Table::default()),
            }),
        };
        for folder in folders {
            manager.recover(&folder);
        }
        Ok(manager)
    }

    fn recover(&self, folder: &std::path::Path) {
        let inner = &self.inner;
        match recovery::recover(folder, &inner.vms, &inner.config) {
            Ok(recovered) => {
                let token = inner.token.child_token();
                let session = Session::new(
                    recovered.state,
                    token,
                    recovered.remaining,
                    Some(recovered.note),
                );
                self.table().sessions.insert(session.id(), session);
            }
            Err(lost) => {
                if lost.reason == EXPIRED {
                    // What cannot be removed is reported again next time.
                    let _ = stored::remove(folder);
                }
                self.table().lost.push(lost);
            }
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.inner
            .table
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a session, with a VM that is ready.
    ///
    /// # Errors
    /// [`SandboxError::NameTaken`], [`SandboxError::Limit`],
    /// [`SandboxError::AllocationTimeout`], and those of starting a VM.
    pub async fn create(&self, create: Create) -> Result<Session> {
        let reserved = self.reserve(create.owner, create.name.into_iter().collect(), 1)?;
        let name = reserved.names.first().cloned();
        let manager = self.clone();
        let owner = create.owner;
        blocking(move || {
            let session = manager.make(owner, name, None, None)?;
            drop(reserved);
            Ok(session)
        })
        .await
    }

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
        let origins = session
            .work(move |state| {
                let origin = match from {
                    Some(id) => state.snapshot_origin(id)?,
                    None => state.origin()?,
                };
                origin.check()?;
                (0..count)
                    .map(|_| begin_copy(&root, &origin))
                    .collect::<Result<Vec<_>>>()
            })
            .await?;
        let mut making = tokio::task::JoinSet::new();
        for (at, (id, origin)) in origins.into_iter().enumerate() {
            let manager = self.clone();
            let name = reserved.names.get(at).cloned();
            let token = parent.map(CancellationToken::child_token);
            making.spawn_blocking(move || manager.make(owner, name, Some((id, origin)), token));
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

    /// Makes a session: its folder, its record, its VM.
    fn make(
        &self,
        owner: u32,
        name: Option<SessionName>,
        copy: Option<(SessionId, Option<Checkpoint>)>,
        token: Option<CancellationToken>,
    ) -> Result<Session> {
        let inner = &self.inner;
        let (id, checkpoint) = copy.unwrap_or_else(|| (SessionId::random(), None));
        let folder = inner.root.join(id.to_string());
        let now = now_ms();
        let record = Record {
            version: VERSION,
            id,
            name,
            owner,
            template: inner.vms.template_key().to_owned(),
            created_ms: now,
            expires_ms: now.saturating_add(inner.config.session_timeout_ms),
            extensions: 0,
            commands: checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.after),
            checkpoint,
            snapshots: Vec::new(),
            parent: None,
        };
        let made = || -> Result<Session> {
            fs::create_dir_all(&folder)
                .map_err(|error| SandboxError::io(format!("making {}", folder.display()), error))?;
            record.save(&folder)?;
            let mut state = State::new(
                folder.clone(),
                record,
                Arc::clone(&inner.vms),
                Arc::clone(&inner.config),
            )?;
            state.warm()?;
            let token = token.unwrap_or_else(|| inner.token.child_token());
            Ok(Session::new(
                state,
                token,
                inner.config.session_timeout(),
                None,
            ))
        };
        match made() {
            Ok(session) => {
                self.table().sessions.insert(id, session.clone());
                Ok(session)
            }
            Err(error) => {
                // What stays behind is swept at the next start: it has no VM and no owner.
                let _ = stored::remove(&folder);
                Err(error)
            }
        }
    }

    /// Takes names and places, so that two at once cannot have the same.
    fn reserve(&self, owner: u32, names: Vec<SessionName>, places: usize) -> Result<Reserved> {
        if self.inner.token.is_cancelled() {
            return Err(SandboxError::Stopping);
        }
        let mut table = self.table();
        let has = table
            .sessions
            .values()
            .filter(|session| session.inner.owner == owner)
            .count();
        let making = table.in_the_making.get(&owner).copied().unwrap_or(0);
        if has + making + places > self.inner.config.max_sessions {
            return Err(SandboxError::Limit {
                what: "sessions of a user",
                limit: self.inner.config.max_sessions as u64,
            });
        }
        let mut wanted = HashSet::new();
        for name in &names {
            let is_taken = table
                .sessions
                .values()
                .any(|session| session.inner.owner == owner && session.name() == Some(name));
            if is_taken
                || table.reserved.contains(&(owner, name.clone()))
                || !wanted.insert(name.clone())
            {
                return Err(SandboxError::NameTaken {
                    what: "session",
                    name: name.to_string(),
                });
            }
        }
        table
            .reserved
            .extend(names.iter().map(|name| (owner, name.clone())));
        *table.in_the_making.entry(owner).or_default() += places;
        Ok(Reserved {
            manager: self.clone(),
            owner,
            names,
            places,
        })
    }

    /// The session of this name or id, if it is this user's.
    ///
    /// # Errors
    /// [`SandboxError::NoSession`], also for another user's: nobody learns of those.
    pub fn find(&self, owner: u32, key: &str) -> Result<Session> {
        let id = key.parse::<SessionId>().ok();
        let table = self.table();
        let mut own = table
            .sessions
            .values()
            .filter(|session| session.inner.owner == owner);
        own.find(|session| {
            Some(session.id()) == id || session.name().is_some_and(|name| name.as_str() == key)
        })
        .cloned()
        .ok_or_else(|| SandboxError::NoSession(key.escape_debug().take(80).collect()))
    }

    /// The sessions of a user, oldest first.
    #[must_use]
    pub fn list(&self, owner: u32) -> Vec<SessionInfo> {
        let sessions: Vec<Session> = {
            let table = self.table();
            let own = table
                .sessions
                .values()
                .filter(|session| session.inner.owner == owner);
            own.cloned().collect()
        };
        let mut infos: Vec<_> = sessions.iter().map(Session::info).collect();
        infos.sort_by_key(|info| (info.created_ms, info.id));
        infos
    }

    /// Sessions that could not be brought back, of a user or of nobody known.
    #[must_use]
    pub fn lost(&self, owner: u32) -> Vec<LostSession> {
        let table = self.table();
        let own = table
            .lost
            .iter()
            .filter(|lost| lost.owner.is_none_or(|of| of == owner));
        own.cloned().collect()
    }

    /// Forgets a lost session and removes what is left of it. `false`: there is none.
    ///
    /// # Errors
    /// [`SandboxError::Io`].
    pub fn forget_lost(&self, owner: u32, key: &str) -> Result<bool> {
        let mut table = self.table();
        let found = table.lost.iter().position(|lost| {
            lost.owner.is_none_or(|of| of == owner)
                && (lost.id == key || lost.name.as_ref().is_some_and(|name| name.as_str() == key))
        });
        let Some(found) = found else {
            return Ok(false);
        };
        let lost = table.lost.remove(found);
        drop(table);
        // Only a folder that has the form of ours is touched.
        if lost.id.parse::<SessionId>().is_ok() {
            stored::remove(&self.inner.root.join(&lost.id))
                .map_err(|error| SandboxError::io("removing a lost session", error))?;
        }
        Ok(true)
    }

    /// Ends a session, whatever it does.
    ///
    /// # Errors
    /// [`SandboxError::Io`] if its folder cannot be removed; it has ended anyway.
    pub async fn destroy(&self, session: &Session) -> Result<()> {
        self.table().sessions.remove(&session.id());
        session.end().await
    }

    /// Ends the sessions whose time is up, or whose token was cancelled. To be called about
    /// every second.
    pub async fn sweep(&self) {
        let due: Vec<Session> = self
            .table()
            .sessions
            .values()
            .filter(|session| session.remaining().is_zero() || session.token().is_cancelled())
            .cloned()
            .collect();
        for session in due {
            // What is left of its folder is swept at the next start.
            let _ = self.destroy(&session).await;
        }
    }

    /// What the pool has done.
    #[must_use]
    pub fn pool_metrics(&self) -> PoolMetrics {
        self.inner.vms.metrics()
    }

    /// Processes of the ready VMs.
    #[must_use]
    pub fn ready_processes(&self) -> Vec<u32> {
        self.inner.vms.ready_processes()
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &SandboxConfig {
        &self.inner.config
    }

    /// Stops: lets running commands end for a moment, writes every state down, and ends all
    /// VMs. The sessions come back with the next manager of this root.
    pub async fn stop(&self) {
        let sessions: Vec<Session> = self.table().sessions.values().cloned().collect();
        let until = Instant::now() + STOP_GRACE;
        while sessions.iter().any(Session::is_running) && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let mut cooling = tokio::task::JoinSet::new();
        for session in sessions {
            session.stop(Stop::Kill);
            cooling.spawn(async move { session.work(State::cool).await });
        }
        // What could not be written down is found, and said, at the next start.
        while cooling.join_next().await.is_some() {}
        self.inner.token.cancel();
        let vms = Arc::clone(&self.inner.vms);
        // A panic there has been reported.
        let _ = tokio::task::spawn_blocking(move || vms.stop()).await;
    }
}

/// Makes the folder of a copy and puts the state in it that it starts from.
fn begin_copy(root: &std::path::Path, origin: &Origin) -> Result<(SessionId, Option<Checkpoint>)> {
    let id = SessionId::random();
    let Some((source, seal)) = &origin.stored else {
        return Ok((id, None));
    };
    let folder = root.join(id.to_string());
    fs::create_dir_all(&folder)
        .map_err(|error| SandboxError::io(format!("making {}", folder.display()), error))?;
    let name = checkpoint_folder(origin.after);
    stored::link(source, &folder.join(&name))?;
    Ok((
        id,
        Some(Checkpoint {
            after: origin.after,
            folder: name,
            seal: seal.clone(),
        }),
    ))
}

/// Names and places taken, until this is dropped: then the sessions are in the table.
struct Reserved {
    manager: SessionManager,
    owner: u32,
    names: Vec<SessionName>,
    places: usize,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let mut table = self.manager.table();
        for name in &self.names {
            table.reserved.remove(&(self.owner, name.clone()));
        }
        if let Some(making) = table.in_the_making.get_mut(&self.owner) {
            *making = making.saturating_sub(self.places);
            if *making == 0 {
                table.in_the_making.remove(&self.owner);
            }
        }
    }
}
