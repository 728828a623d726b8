//! `TerraphimRlm`: the public API (specification, section 5.1).

use crate::context::Context;
use crate::folder::Folder;
use crate::query::{self, Node, NodeParts, OpenBridges, Run, RunParts};
use crate::schema::Schema;
use crate::session::{Bound, budget};
use crate::trajectory::{
    Budget, Event, Record, RunStarted, Spent, Trajectory, TrajectoryFile, VERSION, sweep,
};
use crate::{Result, RlmConfig, RlmError, models};
use serde_json::Value;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use ukernel_image::{Progress, Silent};
use ukernel_kg::{KgConfig, KnowledgeGraphValidator, Thesaurus};
use ukernel_llm::{GenericLlmClient, ModelInfo, Origin, Provider};
use ukernel_machine::probe::ProbeConfig;
use ukernel_sandbox::engine::{Engine, EngineOptions};
use ukernel_sandbox::session::{Create, Session, SessionInfo, SessionManager, SnapshotInfo};
use ukernel_sandbox::vm::VmManager;
use ukernel_sandbox::{
    ExecutionContext, ExecutionEnvironment, ExecutionResult, SandboxError, SessionId, SnapshotId,
};
use ukernel_vmm::LauncherOptions;

/// Argument with which a program of this crate becomes a VM.
const VM_ARGUMENT: &str = "__vm";

/// Largest thesaurus, in bytes.
const MAX_THESAURUS_BYTES: u64 = 256 << 20;

/// Where the guest and the host exchange values. Known to `adapters/python/src/rlm.py`.
const VALUE_PATH: &str = "/tmp/.value";

/// Names a session. See [`SessionId`].
pub type SessionStatus = SessionInfo;

/// Becomes a VM if the embedded VMM has started this program for that, and never returns then. To be
/// called first in `main`, before threads are started or files opened.
pub fn become_vm_if_asked() {
    if std::env::args_os()
        .nth(1)
        .is_some_and(|argument| argument == VM_ARGUMENT)
    {
        ukernel_vmm::vm_main();
    }
}

/// What surrounds the runtime: how VMs are started, and who is asked. The default is this process
/// and the models of the configuration.
#[derive(Clone, Default)]
pub struct Surroundings {
    /// How a process becomes a VM; this program, by [`become_vm_if_asked`], if absent.
    pub vm_process: Option<LauncherOptions>,
    /// How the host is looked at.
    pub probe: Option<ProbeConfig>,
    /// Who is asked instead of the models of the configuration.
    pub llm: Option<Arc<dyn GenericLlmClient>>,
}

/// A question, and how it is to be answered.
#[derive(Clone, Default)]
pub struct Query {
    /// The question.
    pub question: String,
    /// What it is asked over; the session's `context` if there is none.
    pub context: Context,
    /// In which session. In one of its own, that ends with it, if absent.
    pub session: Option<SessionId>,
    /// JSON Schema of the answer.
    pub schema: Option<Value>,
    /// Where the trajectory goes, instead of where the configuration says.
    pub trace: Option<TrajectoryFile>,
    /// Sees every record, with its texts, as it happens. Must not block for long.
    pub watcher: Option<Arc<dyn Fn(&Record) + Send + Sync>>,
    /// Cancelling it ends everything at once.
    pub cancel: CancellationToken,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct RlmResponse {
    /// The answer.
    pub answer: String,
    /// Its value, where it was given as one or a schema asks for one.
    pub value: Option<Value>,
    /// Why it is only the best there was when a limit came near; absent if it is whole.
    pub partial: Option<String>,
    /// What it used.
    pub spent: Spent,
    /// Names the run.
    pub run: String,
    /// Where its trajectory is, if anywhere.
    pub trajectory: Option<PathBuf>,
}

/// A query that is being answered.
pub struct Running {
    /// Every record as it happens. It ends with the run.
    pub events: mpsc::UnboundedReceiver<Record>,
    /// The answer.
    pub answer: tokio::task::JoinHandle<Result<RlmResponse>>,
}

/// Answers questions over contexts larger than any window. Clones share everything.
///
/// ```no_run
/// use terraphim_rlm::{Context, Query, RlmConfig, TerraphimRlm};
///
/// #[tokio::main]
/// async fn main() -> Result<(), terraphim_rlm::RlmError> {
///     terraphim_rlm::become_vm_if_asked();
///     let rlm = TerraphimRlm::new(RlmConfig::default()).await?;
///     let response = rlm
///         .ask(Query {
///             question: "How often is a patent mentioned?".to_owned(),
///             context: Context::files(&["LICENSE".into()], 1 << 30)?,
///             ..Query::default()
///         })
///         .await?;
///     println!("{} ({} tokens)", response.answer, response.spent.tokens());
///     rlm.stop().await;
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct TerraphimRlm {
    inner: Arc<Inner>,
}

struct Inner {
    config: Arc<RlmConfig>,
    llm: Arc<dyn GenericLlmClient>,
    sessions: SessionManager,
    owner: u32,
    kg: Option<Arc<Mutex<KnowledgeGraphValidator>>>,
    bound: Mutex<HashMap<SessionId, Bound>>,
    bridges: OpenBridges,
    /// Removed when the last handle is dropped.
    _folder: Option<Folder>,
}

impl TerraphimRlm {
    /// A runtime of this process, with the models of the configuration. Keys are read from the
    /// environment. The first time kernel, image and template are built, which takes minutes.
    ///
    /// # Errors
    /// [`RlmError::Config`], [`RlmError::LlmProviderError`], [`RlmError::VmAllocationFailed`].
    pub async fn new(config: RlmConfig) -> Result<Self> {
        Self::with(config, Surroundings::default(), Arc::new(Silent)).await
    }

    /// The same with other surroundings, telling `progress` what is built.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub async fn with(
        config: RlmConfig,
        surroundings: Surroundings,
        progress: Arc<dyn Progress + Send + Sync>,
    ) -> Result<Self> {
        config.check()?;
        let llm = match surroundings.llm.clone() {
            Some(llm) => llm,
            None => models::open(&config, &|name| std::env::var(name).ok())?,
        };
        check_prices(&config, llm.as_ref())?;
        let opened = tokio::task::spawn_blocking(move || {
            open(config, llm, &surroundings, progress.as_ref())
        });
        let inner = opened.await.map_err(RlmError::internal)??;
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &RlmConfig {
        &self.inner.config
    }

    /// What is known of the model that is asked.
    ///
    /// # Errors
    /// If it could not be asked.
    pub fn model_info(&self) -> Result<ModelInfo> {
        let model = self.inner.config.model()?;
        self.inner.llm.model_info(&model).map_err(RlmError::from)
    }

    /// Answers a question, over the `context` of a session if one is given.
    ///
    /// # Errors
    /// [`RlmError`]: there is no answer.
    pub async fn query(&self, input: &str, session_id: Option<SessionId>) -> Result<RlmResponse> {
        self.ask(Query {
            question: input.to_owned(),
            session: session_id,
            ..Query::default()
        })
        .await
    }

    /// Answers a question, and tells what happens meanwhile.
    #[must_use]
    pub fn stream(&self, mut query: Query) -> Running {
        let (sender, events) = mpsc::unbounded_channel();
        let watcher = query.watcher.take();
        query.watcher = Some(Arc::new(move |record: &Record| {
            if let Some(watcher) = &watcher {
                watcher(record);
            }
            // Nobody has to listen.
            let _ = sender.send(record.clone());
        }));
        let rlm = self.clone();
        let answer = tokio::spawn(async move { rlm.ask(query).await });
        Running { events, answer }
    }

    /// Answers a question.
    ///
    /// # Errors
    /// [`RlmError`]: there is no answer. What was spent is in the trajectory.
    pub async fn ask(&self, query: Query) -> Result<RlmResponse> {
        if query.question.trim().is_empty() {
            return Err(RlmError::Config("the question is empty".to_owned()));
        }
        let schema = query.schema.clone().map(Schema::new).transpose()?;
        let run = uuid::Uuid::new_v4().to_string();
        let target = self.target(&run, query.trace.clone())?;
        let (bound, is_ours) = match query.session {
            Some(id) => (self.bound(id)?, false),
            None => (self.create_bound().await?, true),
        };
        let ours = CancelOnDrop(is_ours.then(|| bound.session.clone()));
        let slice = bound.ledger.whole();
        let started = self.run_started(&run, target.as_ref(), slice.ledger())?;
        let trajectory = Trajectory::begin(target.as_ref(), query.watcher, started)?;
        let run_parts = self.run_parts(trajectory, query.cancel.child_token())?;
        let node = Arc::new(Node::new(NodeParts {
            id: run_parts.next_node(),
            depth: 0,
            ledger: slice.ledger().clone(),
            session: bound.session.clone(),
            context: query.context,
            question: query.question,
            schema,
            token: bound.token,
            cancel: run_parts.cancel.child_token(),
            attempts: Arc::clone(&bound.attempts),
            run: run_parts,
        }));
        let _cancel = node.run.cancel.clone().drop_guard();
        let answered = query::answer(&node, None).await;
        node.run.all_ended().await;
        let spent = query::spent(&node);
        let outcome = query::outcome_of(&answered);
        let ended = Event::RunEnded { outcome, spent };
        let written = node.run.trajectory.end(ended);
        if is_ours {
            // What cannot be removed goes with the folder of all sessions.
            let _ = self.destroy_session(bound.session.id()).await;
        }
        drop(ours);
        let answer = answered?;
        written?;
        Ok(RlmResponse {
            answer: answer.text,
            value: answer.value,
            partial: answer.partial,
            spent,
            run,
            trajectory: target.map(|target| target.path),
        })
    }

    /// Runs Python in a session. It may ask models; what that costs is the session's.
    ///
    /// # Errors
    /// [`RlmError::ExecutionTimeout`], [`RlmError::KgValidationFailed`],
    /// [`RlmError::KgEscalationRequired`], and those of the session. Code that fails is a result.
    pub async fn execute_code(&self, code: &str, session_id: SessionId) -> Result<ExecutionResult> {
        self.execute(code, session_id, false).await
    }

    /// Runs a shell command in a session.
    ///
    /// # Errors
    /// As [`Self::execute_code`].
    pub async fn execute_command(
        &self,
        cmd: &str,
        session_id: SessionId,
    ) -> Result<ExecutionResult> {
        self.execute(cmd, session_id, true).await
    }

    async fn execute(
        &self,
        source: &str,
        id: SessionId,
        is_shell: bool,
    ) -> Result<ExecutionResult> {
        let bound = self.bound(id)?;
        let node = self.node_for_code(&bound, id)?;
        query::validate_directly(&node, is_shell, source)?;
        self.begin(&bound, &node).await?;
        let executed = query::execute_directly(&node, is_shell, source).await;
        executed.map_err(|error| RlmError::of_sandbox(error, id))
    }

    /// Puts the functions that ask into the session's REPL, once.
    async fn begin(&self, bound: &Bound, node: &Arc<Node>) -> Result<()> {
        let mut has_begun = bound.has_begun.lock().await;
        if !*has_begun {
            let begun = query::execute_directly(node, false, query::BEGIN).await;
            begun.map_err(|error| RlmError::of_sandbox(error, bound.session.id()))?;
            *has_begun = true;
        }
        Ok(())
    }

    /// A node that only runs code.
    pub(crate) fn node_for_code(&self, bound: &Bound, id: SessionId) -> Result<Arc<Node>> {
        let started = self.run_started(&id.to_string(), None, &bound.ledger)?;
        let trajectory = Trajectory::begin(None, None, started)?;
        let run = self.run_parts(trajectory, CancellationToken::new())?;
        Ok(Arc::new(Node::new(NodeParts {
            id: run.next_node(),
            depth: 0,
            ledger: bound.ledger.clone(),
            session: bound.session.clone(),
            context: Context::default(),
            question: String::new(),
            schema: None,
            token: bound.token,
            cancel: run.cancel.child_token(),
            attempts: Arc::clone(&bound.attempts),
            run,
        })))
    }

    /// A variable of the session's REPL, as text; `None` if it is not set.
    ///
    /// # Errors
    /// [`RlmError::Config`] if the name cannot be one; those of the session.
    pub async fn get_context(&self, session_id: SessionId, key: &str) -> Result<Option<String>> {
        check_variable(key)?;
        let session = self.session(session_id)?;
        let found = self
            .internal(&session, &format!("__import__('rlm').get({key:?})"))
            .await?;
        if found.value.as_deref() != Some("True") {
            return Ok(None);
        }
        let value = session.get_file(VALUE_PATH).await;
        let value = value.map_err(|error| RlmError::of_sandbox(error, session_id))?;
        Ok(Some(String::from_utf8_lossy(&value).into_owned()))
    }

    /// Sets a variable of the session's REPL to a text. `context` is what questions are about.
    ///
    /// # Errors
    /// As [`Self::get_context`].
    pub async fn set_context(&self, session_id: SessionId, key: &str, value: &str) -> Result<()> {
        check_variable(key)?;
        let session = self.session(session_id)?;
        let put = session
            .put_file(VALUE_PATH, value.as_bytes().to_vec())
            .await;
        put.map_err(|error| RlmError::of_sandbox(error, session_id))?;
        self.internal(&session, &format!("__import__('rlm').put({key:?})"))
            .await?;
        Ok(())
    }

    /// Runs code of ours, which has to end well.
    async fn internal(&self, session: &Session, code: &str) -> Result<ExecutionResult> {
        let executed = session
            .execute_code(code, &ExecutionContext::default())
            .await;
        let result = executed.map_err(|error| RlmError::of_sandbox(error, session.id()))?;
        if !result.is_success() {
            return Err(RlmError::ExecutionFailed {
                exit_code: 1,
                stderr: result.output.stderr,
            });
        }
        Ok(result)
    }

    /// Keeps the state of a session under a name.
    ///
    /// # Errors
    /// [`RlmError::SnapshotLimitExceeded`], those of the session.
    pub async fn create_snapshot(&self, session_id: SessionId, name: &str) -> Result<SnapshotId> {
        let session = self.session(session_id)?;
        let made = session.create_snapshot(name).await;
        made.map_err(|error| RlmError::of_sandbox(error, session_id))
    }

    /// Goes back to a snapshot: interpreter, variables and files.
    ///
    /// # Errors
    /// [`RlmError::SnapshotNotFound`], those of the session.
    pub async fn restore_snapshot(
        &self,
        session_id: SessionId,
        snapshot_id: &SnapshotId,
    ) -> Result<()> {
        let session = self.session(session_id)?;
        session
            .restore_snapshot(snapshot_id)
            .await
            .map_err(|error| match error {
                SandboxError::NoSnapshot(_) => RlmError::SnapshotNotFound {
                    snapshot_id: *snapshot_id,
                },
                other => RlmError::of_sandbox(other, session_id),
            })
    }

    /// The snapshots of a session.
    ///
    /// # Errors
    /// Those of the session.
    pub async fn list_snapshots(&self, session_id: SessionId) -> Result<Vec<SnapshotInfo>> {
        let session = self.session(session_id)?;
        let listed = session.list_snapshots().await;
        listed.map_err(|error| RlmError::of_sandbox(error, session_id))
    }

    /// Makes a session.
    ///
    /// # Errors
    /// [`RlmError::VmAllocationFailed`].
    pub async fn create_session(&self) -> Result<SessionId> {
        Ok(self.create_bound().await?.session.id())
    }

    async fn create_bound(&self) -> Result<Bound> {
        let inner = &self.inner;
        let create = Create {
            name: None,
            owner: inner.owner,
        };
        let session =
            inner
                .sessions
                .create(create)
                .await
                .map_err(|error| RlmError::VmAllocationFailed {
                    reason: error.to_string(),
                })?;
        let bound = Bound::new(session, &inner.config);
        self.bounds().insert(bound.session.id(), bound.clone());
        Ok(bound)
    }

    /// Ends a session, whatever it does. Its token is worth nothing from then on.
    ///
    /// # Errors
    /// [`RlmError::SessionNotFound`].
    pub async fn destroy_session(&self, session_id: SessionId) -> Result<()> {
        let session = self.session(session_id)?;
        self.bounds().remove(&session_id);
        let ended = self.inner.sessions.destroy(&session).await;
        ended.map_err(|error| RlmError::of_sandbox(error, session_id))
    }

    /// Adds time to a session's life, as often as the configuration allows.
    ///
    /// # Errors
    /// Those of the session.
    pub async fn extend_session(&self, session_id: SessionId) -> Result<Duration> {
        let session = self.session(session_id)?;
        let left = session.extend().await;
        left.map_err(|error| RlmError::of_sandbox(error, session_id))
    }

    /// What a session is and does.
    ///
    /// # Errors
    /// [`RlmError::SessionNotFound`].
    pub async fn get_session_status(&self, session_id: SessionId) -> Result<SessionStatus> {
        Ok(self.session(session_id)?.info())
    }

    /// A person approves terms that were unknown in a session: from now on they are known in all.
    ///
    /// # Errors
    /// [`RlmError::Config`] if there is no thesaurus, or they are no terms.
    pub fn approve_terms(&self, session_id: SessionId, terms: &[String]) -> Result<()> {
        let Some(kg) = &self.inner.kg else {
            return Err(RlmError::Config("there is no thesaurus".to_owned()));
        };
        let bound = self.bound(session_id)?;
        let mut kg = kg.lock().unwrap_or_else(PoisonError::into_inner);
        let mut attempts = bound
            .attempts
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        kg.approve(terms, &mut attempts)
            .map_err(|error| RlmError::Config(error.to_string()))
    }

    /// A person rejects terms: commands with them do not run in this session.
    ///
    /// # Errors
    /// Those of the session.
    pub fn reject_terms(&self, session_id: SessionId, terms: &[String]) -> Result<()> {
        let bound = self.bound(session_id)?;
        let mut attempts = bound
            .attempts
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        attempts.reject(terms.iter().map(String::as_str));
        Ok(())
    }

    /// Ends every session, and waits until their VMs are gone.
    pub async fn stop(&self) {
        let ids: Vec<SessionId> = self.bounds().keys().copied().collect();
        if self.inner.config.session_folder.is_none() {
            for id in ids {
                // What is left goes with the folder.
                let _ = self.destroy_session(id).await;
            }
        }
        self.inner.sessions.stop().await;
    }

    fn bounds(&self) -> MutexGuard<'_, HashMap<SessionId, Bound>> {
        self.inner
            .bound
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn session(&self, id: SessionId) -> Result<Session> {
        let inner = &self.inner;
        inner
            .sessions
            .find(inner.owner, &id.to_string())
            .map_err(|_| RlmError::SessionNotFound { session_id: id })
    }

    pub(crate) fn bridges(&self) -> OpenBridges {
        self.inner.bridges.clone()
    }

    pub(crate) fn bound(&self, id: SessionId) -> Result<Bound> {
        let session = self.session(id)?;
        let config = &self.inner.config;
        let mut bounds = self.bounds();
        let bound = bounds
            .entry(id)
            .or_insert_with(|| Bound::new(session, config));
        Ok(bound.clone())
    }

    fn run_parts(&self, trajectory: Trajectory, cancel: CancellationToken) -> Result<Arc<Run>> {
        let inner = &self.inner;
        Ok(Arc::new(Run::new(RunParts {
            config: Arc::clone(&inner.config),
            llm: Arc::clone(&inner.llm),
            model: inner.config.model()?,
            sub_model: inner.config.sub_model()?,
            sessions: inner.sessions.clone(),
            owner: inner.owner,
            kg: inner.kg.clone(),
            trajectory,
            bridges: inner.bridges.clone(),
            max_wall_clock: Duration::from_millis(inner.config.max_wall_clock_ms),
            cancel,
        })))
    }

    fn run_started(
        &self,
        run: &str,
        target: Option<&TrajectoryFile>,
        ledger: &crate::ledger::Ledger,
    ) -> Result<RunStarted> {
        let config = &self.inner.config;
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Ok(RunStarted {
            version: VERSION,
            ukernel: env!("CARGO_PKG_VERSION").to_owned(),
            run: run.to_owned(),
            started_unix_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            verbose: target.is_some_and(|target| target.verbose),
            model: config.model()?.to_string(),
            sub_model: config.sub_model()?.to_string(),
            origin: self.model_info()?.origin.to_string(),
            budget: Budget {
                tokens: ledger.limit().tokens,
                ..budget(config)
            },
        })
    }

    /// Where a trajectory goes.
    fn target(&self, run: &str, asked: Option<TrajectoryFile>) -> Result<Option<TrajectoryFile>> {
        let config = &self.inner.config;
        if asked.is_some() {
            return Ok(asked);
        }
        let Some(folder) = &config.trace_folder else {
            return Ok(None);
        };
        let made = std::fs::create_dir_all(folder)
            .and_then(|()| sweep(folder, config.trace_retention_days));
        made.map_err(|error| RlmError::internal(format!("{}: {error}", folder.display())))?;
        Ok(Some(TrajectoryFile {
            path: folder.join(format!("{run}.jsonl")),
            verbose: config.enable_verbose_tracing,
        }))
    }
}

/// Cancels a session nobody knows when it is dropped.
struct CancelOnDrop(Option<Session>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if let Some(session) = &self.0 {
            session.token().cancel();
        }
    }
}

fn open(
    config: RlmConfig,
    llm: Arc<dyn GenericLlmClient>,
    surroundings: &Surroundings,
    progress: &dyn Progress,
) -> Result<Inner> {
    let kg = thesaurus(&config)?;
    let home = match &config.home {
        Some(home) => home.clone(),
        None => default_home()?,
    };
    let vm_process = match &surroundings.vm_process {
        Some(options) => options.clone(),
        None => {
            let this = std::env::current_exe().map_err(RlmError::internal)?;
            LauncherOptions::new(this, [VM_ARGUMENT.into()])
        }
    };
    let source = config
        .source
        .clone()
        .unwrap_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")));
    let sandbox = config.sandbox();
    let failed = |error: SandboxError| match error {
        SandboxError::Config(problem) => RlmError::Config(problem),
        other => RlmError::VmAllocationFailed {
            reason: other.to_string(),
        },
    };
    let probe = surroundings.probe.clone().unwrap_or_else(|| ProbeConfig {
        path: std::env::var_os("PATH").unwrap_or_default(),
        firecracker: std::env::var_os("UKERNEL_FIRECRACKER").map(PathBuf::from),
        state_dir: home.clone(),
    });
    let engine = Engine::open(&EngineOptions {
        home: home.clone(),
        source,
        probe,
        vm_process,
        preference: sandbox.backend_preference.clone(),
    })
    .map_err(failed)?;
    let template = engine
        .template(sandbox.machine_mib(), progress)
        .map_err(failed)?;
    let vms = VmManager::start(template, &sandbox).map_err(failed)?;
    let (folder, root) = match &config.session_folder {
        Some(kept) => (None, kept.clone()),
        None => {
            let folder = Folder::make(&home.join("rlm"))?;
            let path = folder.path().to_owned();
            (Some(folder), path)
        }
    };
    let sessions = SessionManager::open(root, vms, sandbox).map_err(failed)?;
    Ok(Inner {
        config: Arc::new(config),
        llm,
        sessions,
        owner: rustix::process::getuid().as_raw(),
        kg,
        bound: Mutex::default(),
        bridges: OpenBridges::default(),
        _folder: folder,
    })
}

fn default_home() -> Result<PathBuf> {
    let home = std::env::home_dir().filter(|home| home.is_absolute());
    home.map(|home| home.join(".cache/ukernel"))
        .ok_or_else(|| RlmError::Config("there is no home folder. hint: set home".to_owned()))
}

fn thesaurus(config: &RlmConfig) -> Result<Option<Arc<Mutex<KnowledgeGraphValidator>>>> {
    let Some(path) = config
        .kg_thesaurus
        .as_ref()
        .filter(|_| config.kg_validation_enabled)
    else {
        return Ok(None);
    };
    let bad = |cause: &dyn std::fmt::Display| {
        RlmError::Config(format!("the thesaurus {}: {cause}", path.display()))
    };
    let length = std::fs::metadata(path).map_err(|error| bad(&error))?.len();
    if length > MAX_THESAURUS_BYTES {
        return Err(bad(&"it is too large"));
    }
    let json = std::fs::read(path).map_err(|error| bad(&error))?;
    let terms =
        Thesaurus::from_json(&json, &ukernel_kg::Limits::default()).map_err(|error| bad(&error))?;
    let rules = KgConfig {
        kg_retry_limit: config.kg_retry_limit,
        kg_escalation_enabled: config.kg_escalation_enabled,
        kg_strictness: config.kg_strictness,
    };
    let validator = KnowledgeGraphValidator::new(terms, rules).map_err(|error| bad(&error))?;
    Ok(Some(Arc::new(Mutex::new(validator))))
}

/// A budget of money has to know what calls cost before they are made.
fn check_prices(config: &RlmConfig, llm: &dyn GenericLlmClient) -> Result<()> {
    if config.max_total_micro_dollars.is_none() {
        return Ok(());
    }
    for model in [config.model()?, config.sub_model()?] {
        let is_local = matches!(
            &model,
            ukernel_llm::ModelName::Hosted {
                provider: Provider::Ollama,
                ..
            }
        );
        let info = llm.model_info(&model)?;
        let is_played = matches!(info.origin, Origin::Replay { .. });
        let has_price = config.prices.contains_key(&model.to_string());
        if !(is_local || is_played || has_price) {
            return Err(RlmError::Config(format!(
                "there is a budget of money, and no price for {model}. hint: set it in the \
                 configuration: [prices.\"{model}\"]"
            )));
        }
    }
    Ok(())
}

fn check_variable(name: &str) -> Result<()> {
    let mut letters = name.chars();
    let begins = letters
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == '_');
    if begins && name.len() <= 128 && letters.all(|one| one.is_ascii_alphanumeric() || one == '_') {
        return Ok(());
    }
    Err(RlmError::Config(format!(
        "`{}` is no name of a variable",
        name.escape_debug().take(80).collect::<String>()
    )))
}
