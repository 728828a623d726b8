//! The desk of one request: who calls, in which sessions, with which runtime.

use crate::approval::{Decided, Seal};
use crate::caller::Caller;
use crate::options::{Open, Options};
use crate::replies::Failure;
use crate::sessions::Sessions;
use crate::tasks::Tasks;
use std::sync::Arc;
use terraphim_rlm::{ErrorCode, GenericLlmClient, ModelName, RlmError, SessionId, TerraphimRlm};
use tokio::sync::{Mutex, OnceCell};

/// What all requests of a server share.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) open: Open,
    pub(crate) rlm: OnceCell<TerraphimRlm>,
    pub(crate) sessions: Sessions,
    pub(crate) tasks: Tasks,
    pub(crate) seal: Seal,
    /// Held while a session is made, so that a caller's are counted right.
    making: Mutex<()>,
}

impl Shared {
    pub(crate) fn new(open: Open, options: Options) -> std::io::Result<Self> {
        Ok(Self {
            tasks: Tasks::open(&options.folder, options.task_life, options.max_running)?,
            options,
            open,
            rlm: OnceCell::new(),
            sessions: Sessions::default(),
            seal: Seal::new(),
            making: Mutex::default(),
        })
    }

    /// The runtime, which is opened if it is not yet.
    pub(crate) async fn rlm(&self) -> Result<&TerraphimRlm, RlmError> {
        let open = || async {
            let rlm = (self.open)().await?;
            self.options.upstream.attach(&rlm)?;
            Ok(rlm)
        };
        self.rlm.get_or_try_init(open).await
    }

    /// Ends a session. Whether there was one.
    pub(crate) async fn end(&self, handle: &str) -> bool {
        let (Some(id), Some(rlm)) = (self.sessions.forget(handle), self.rlm.get()) else {
            return false;
        };
        // What cannot be removed goes with the folder of all sessions.
        let _ = rlm.destroy_session(id).await;
        true
    }

    pub(crate) async fn stop(&self) {
        self.tasks.stop();
        if let Some(rlm) = self.rlm.get() {
            rlm.stop().await;
        }
        self.options.upstream.stop().await;
    }
}

/// The session of a connection: on older revisions of the protocol a client's calls belong together
/// without a handle.
pub(crate) type ConnectionSession = Arc<Mutex<Option<String>>>;

/// What a request is answered with. Clones are the same.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) shared: Arc<Shared>,
    pub(crate) caller: Caller,
    /// Absent where the protocol has no connections.
    pub(crate) connection: Option<ConnectionSession>,
    /// Whether the client can put a question to a person.
    pub(crate) can_ask: bool,
    /// The client's own model, if it is to be asked.
    pub(crate) model: Option<(ModelName, Arc<dyn GenericLlmClient>)>,
    pub(crate) traceparent: Option<String>,
}

/// A session that was found or made.
pub(crate) struct Found {
    pub(crate) handle: String,
    pub(crate) id: SessionId,
}

impl Desk {
    pub(crate) async fn rlm(&self) -> Result<&TerraphimRlm, Failure> {
        self.shared.rlm().await.map_err(|error| Failure::of(&error))
    }

    /// The session of a handle.
    pub(crate) async fn session(&self, handle: &str) -> Result<Found, Failure> {
        let Some(id) = self.shared.sessions.find(&self.caller, handle) else {
            return Err(Failure::no_session(handle));
        };
        let status = self.rlm().await?.get_session_status(id).await;
        if status.is_err() {
            self.shared.sessions.forget(handle);
            return Err(Failure::new(
                ErrorCode::SESSION_EXPIRED,
                "the session has ended, with its variables and files. hint: leave `session` out \
                 to make a new one",
            ));
        }
        Ok(Found {
            handle: handle.to_owned(),
            id,
        })
    }

    /// The session of a handle; without one the connection's; otherwise a new one.
    pub(crate) async fn session_or_new(&self, handle: Option<&str>) -> Result<Found, Failure> {
        if let Some(handle) = handle {
            return self.session(handle).await;
        }
        let Some(connection) = &self.connection else {
            return self.make().await;
        };
        let mut own = connection.lock().await;
        if let Some(handle) = own.as_deref()
            && let Ok(found) = self.session(handle).await
        {
            return Ok(found);
        }
        let made = self.make().await?;
        *own = Some(made.handle.clone());
        Ok(made)
    }

    /// The session of a handle, or else the connection's, if it has one.
    pub(crate) async fn session_if_any(
        &self,
        handle: Option<&str>,
    ) -> Result<Option<Found>, Failure> {
        if let Some(handle) = handle {
            return self.session(handle).await.map(Some);
        }
        let Some(connection) = &self.connection else {
            return Ok(None);
        };
        let own = connection.lock().await.clone();
        match own {
            Some(handle) => Ok(self.session(&handle).await.ok()),
            None => Ok(None),
        }
    }

    async fn make(&self) -> Result<Found, Failure> {
        let rlm = self.rlm().await?;
        let sessions = &self.shared.sessions;
        let _making = self.shared.making.lock().await;
        let mut living = 0;
        for (handle, id) in sessions.of(&self.caller) {
            match rlm.get_session_status(id).await {
                Ok(_) => living += 1,
                Err(_) => drop(sessions.forget(&handle)),
            }
        }
        let most = self.shared.options.max_sessions;
        if living >= most {
            return Err(Failure::new(
                ErrorCode::SANDBOX,
                format!(
                    "you have {most} sessions, the most there may be. hint: go on in one of them \
                     (rlm_status lists them), or end one with rlm_status"
                ),
            ));
        }
        let made = rlm.create_session().await;
        let id = made.map_err(|error| Failure::of(&error))?;
        Ok(Found {
            handle: sessions.mint(&self.caller, id),
            id,
        })
    }

    /// Carries out what a person decided about a session's terms.
    pub(crate) async fn follow(&self, handle: &str, decided: &Decided) -> Result<(), Failure> {
        let session = self.session(handle).await?;
        let rlm = self.rlm().await?;
        let failed = |error: RlmError| Failure::of(&error);
        if !decided.approved.is_empty() {
            rlm.approve_terms(session.id, &decided.approved)
                .map_err(failed)?;
        }
        if !decided.rejected.is_empty() {
            rlm.reject_terms(session.id, &decided.rejected)
                .map_err(failed)?;
        }
        Ok(())
    }
}
