//! Owner of sessions: who has which, how long, and where they are kept.

use super::journal::{self, Entry, RECEIPTS};
use super::record::{Checkpoint, Record, VERSION, now_ms};
use super::recovery::{self, EXPIRED};
use super::state::State;
use super::{LostSession, Session, SessionInfo, blocking, stored};
use crate::guests::{Guest, Guests};
use crate::vm::{PoolMetrics, VmManager};
use crate::{Result, SandboxConfig, SandboxError, SessionId, SessionName};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use ukernel_image::ImageName;
use ukernel_machine::file;

/// How long commands may go on after the manager was told to stop.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// A session to be made.
#[derive(Clone, Debug, Default)]
pub struct Create {
    /// What it is called.
    pub name: Option<SessionName>,
    /// User it belongs to.
    pub owner: u32,
    /// What runs inside.
    pub guest: Guest,
    /// The user's image it is made with; the guest's own if `None`.
    pub image: Option<ImageName>,
}

/// What a session is made over.
#[derive(Clone)]
pub(super) struct Base {
    pub(super) guest: Guest,
    pub(super) image: Option<ImageName>,
    pub(super) vms: Arc<VmManager>,
}

/// Makes, finds, keeps and ends sessions.
#[derive(Clone)]
pub struct SessionManager {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) root: PathBuf,
    guests: Guests,
    pub(super) config: Arc<SandboxConfig>,
    pub(super) token: CancellationToken,
    table: Mutex<Table>,
}

#[derive(Default)]
pub(super) struct Table {
    pub(super) sessions: HashMap<SessionId, Session>,
    lost: Vec<LostSession>,
    /// Names of sessions that are being made.
    pub(super) reserved: HashSet<(u32, SessionName)>,
    /// Sessions that are being made, by owner.
    pub(super) in_the_making: HashMap<u32, usize>,
}

impl SessionManager {
    /// Brings back the sessions kept under `root`, on which no other manager may work.
    ///
    /// # Errors
    /// [`SandboxError::Config`], [`SandboxError::Io`].
    pub fn open(root: PathBuf, guests: impl Into<Guests>, config: SandboxConfig) -> Result<Self> {
        if let Some(problem) = config.problem() {
            return Err(SandboxError::Config(problem));
        }
        let failed =
            |error: std::io::Error| SandboxError::io(format!("in {}", root.display()), error);
        file::make_folder(&root).map_err(failed)?;
        let folders: Vec<PathBuf> = fs::read_dir(&root)
            .map_err(failed)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<std::io::Result<_>>()
            .map_err(failed)?;
        let manager = Self {
            inner: Arc::new(Inner {
                root,
                guests: guests.into(),
                config: Arc::new(config),
                token: CancellationToken::new(),
                table: Mutex::new(Table::default()),
            }),
        };
        for folder in folders {
            if !folder.ends_with(RECEIPTS) {
                manager.recover(&folder);
            }
        }
        Ok(manager)
    }

    fn recover(&self, folder: &std::path::Path) {
        let inner = &self.inner;
        match recovery::recover(folder, &inner.guests, &inner.config) {
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
                    if let Ok(id) = lost.id.parse() {
                        journal::keep_of(folder, id);
                    }
                    // What cannot be removed is reported again next time.
                    let _ = stored::remove(folder);
                }
                self.table().lost.push(lost);
            }
        }
    }

    pub(super) fn table(&self) -> MutexGuard<'_, Table> {
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
            let base = Base {
                guest: create.guest,
                vms: manager
                    .inner
                    .guests
                    .vms(create.guest, create.image.as_ref())?,
                image: create.image,
            };
            let session = manager.make(owner, name, base, None, None)?;
            drop(reserved);
            Ok(session)
        })
        .await
    }

    /// Makes a session: its folder, its record, its VM.
    pub(super) fn make(
        &self,
        owner: u32,
        name: Option<SessionName>,
        base: Base,
        copy: Option<(SessionId, Option<Checkpoint>)>,
        token: Option<CancellationToken>,
    ) -> Result<Session> {
        let inner = &self.inner;
        let Base { guest, image, vms } = base;
        let (id, checkpoint) = copy.unwrap_or_else(|| (SessionId::random(), None));
        let folder = inner.root.join(id.to_string());
        let now = now_ms();
        let record = Record {
            version: VERSION,
            id,
            name,
            owner,
            guest,
            image,
            template: vms.template_key().to_owned(),
            created_ms: now,
            expires_ms: now.saturating_add(inner.config.session_timeout_ms),
            extensions: 0,
            commands: checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.after),
            checkpoint,
            snapshots: Vec::new(),
            parent: None,
        };
        let created = Entry::Create {
            session: id.to_string(),
            name: record.name.as_ref().map(ToString::to_string),
            owner,
            guest,
            template: record.template.clone(),
            after: record.commands,
        };
        let made = || -> Result<Session> {
            file::make_folder(&folder)
                .map_err(|error| SandboxError::io(format!("making {}", folder.display()), error))?;
            record.save(&folder)?;
            let mut state = State::new(folder.clone(), record, vms, Arc::clone(&inner.config))?;
            state.note(&created)?;
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

    /// The session of this id, whoever's it is.
    pub(super) fn of_id(&self, id: SessionId) -> Option<Session> {
        self.table().sessions.get(&id).cloned()
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
        if let Ok(id) = lost.id.parse::<SessionId>() {
            let folder = self.inner.root.join(&lost.id);
            journal::keep_of(&folder, id);
            stored::remove(&folder)
                .map_err(|error| SandboxError::io("removing a lost session", error))?;
        }
        Ok(true)
    }

    /// Where the receipt of a session is when it has ended.
    #[must_use]
    pub fn receipt_of(&self, session: &Session) -> PathBuf {
        journal::receipt_of(&self.inner.root, session.id())
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

    /// What the pool of the µkernel has done.
    #[must_use]
    pub fn pool_metrics(&self) -> PoolMetrics {
        self.inner.guests.ukernel().metrics()
    }

    /// Processes of the ready VMs.
    #[must_use]
    pub fn ready_processes(&self) -> Vec<u32> {
        self.inner.guests.ukernel().ready_processes()
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
            session.kill();
            cooling.spawn(async move { session.work(State::cool).await });
        }
        // What could not be written down is found, and said, at the next start.
        while cooling.join_next().await.is_some() {}
        self.inner.token.cancel();
        let inner = Arc::clone(&self.inner);
        // A panic there has been reported.
        let _ = tokio::task::spawn_blocking(move || inner.guests.stop()).await;
    }
}
