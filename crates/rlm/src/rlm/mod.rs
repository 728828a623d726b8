//! `TerraphimRlm`: the public API (specification, section 5.1).

mod opening;
mod request;
mod sessions;
mod values;

pub use opening::become_vm_if_asked;
pub use request::{Execution, Query, RlmResponse, Running, SessionStatus, Surroundings};

use crate::error::Problem;
use crate::folder::Folder;
use crate::query::{self, Calls, Node, OpenBridges, Run, RunParts};
use crate::schema::Schema;
use crate::session::{Bound, budget};
use crate::{Result, RlmConfig, RlmError, client};
use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use ukernel_budget::Budget;
use ukernel_image::{Progress, Silent};
use ukernel_kg::KnowledgeGraphValidator;
use ukernel_llm::{GenericLlmClient, ModelInfo, ModelName};
use ukernel_sandbox::{Environment, Environments, SessionId};
use ukernel_trajectory::{Event, Record, RunStarted, Trajectory, TrajectoryFile, VERSION};

/// Answers questions over contexts larger than any window. Clones share everything.
///
/// ```no_run
/// use terraphim_rlm::{Context, Query, RlmConfig, TerraphimRlm};
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     // Before a runtime is started: this program is also every VM it starts.
///     terraphim_rlm::become_vm_if_asked();
///     tokio::runtime::Runtime::new()?.block_on(ask())?;
///     Ok(())
/// }
///
/// async fn ask() -> Result<(), terraphim_rlm::RlmError> {
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
    environments: Arc<dyn Environments>,
    owner: u32,
    kg: Option<Arc<Mutex<KnowledgeGraphValidator>>>,
    bound: Mutex<HashMap<SessionId, Bound>>,
    bridges: OpenBridges,
    calls: Calls,
    /// Removed when the last handle is dropped.
    _folder: Option<Folder>,
    /// Ends with the last handle.
    _sweeper: Option<DropGuard>,
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
            None => client::open(&config, &|name| std::env::var(name).ok())?,
        };
        opening::check_prices(&config, llm.as_ref())?;
        let opened = tokio::task::spawn_blocking(move || {
            opening::open(config, llm, &surroundings, progress.as_ref())
        });
        let inner = opened
            .await
            .map_err(|error| RlmError::internal(Problem::of(error)))??;
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// A runtime whose code runs in these environments, which are its alone: [`Self::stop`] stops
    /// them. The sandbox settings of `config` are not looked at.
    ///
    /// # Errors
    /// [`RlmError::Config`], [`RlmError::LlmProviderError`].
    pub fn with_environments(
        config: RlmConfig,
        llm: Arc<dyn GenericLlmClient>,
        environments: Arc<dyn Environments>,
    ) -> Result<Self> {
        config.check()?;
        opening::check_prices(&config, llm.as_ref())?;
        let inner = opening::over(config, llm, environments, None)?;
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

    /// The models of the configuration.
    fn models(&self) -> Result<Models> {
        Ok(Models {
            llm: Arc::clone(&self.inner.llm),
            model: self.inner.config.model()?,
            sub_model: self.inner.config.sub_model()?,
        })
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
            // The receiver may be gone.
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
            return Err(RlmError::config("the question is empty"));
        }
        let schema = query.schema.clone().map(Schema::new).transpose()?;
        let run_name = uuid::Uuid::new_v4().to_string();
        let target = self.target(&run_name, query.trace.clone())?;
        let (bound, is_ours) = match query.session {
            Some(id) => (self.bound(id)?, false),
            None => (self.create_bound().await?, true),
        };
        let ours = CancelOnDrop(is_ours.then(|| bound.session.clone()));
        let _turn = tokio::select! {
            turn = Arc::clone(&bound.turn).lock_owned() => turn,
            () = query.cancel.cancelled() => return Err(RlmError::Cancelled),
        };
        let slice = bound.ledger.whole();
        let models = match query.model {
            Some((model, llm)) => Models {
                llm,
                sub_model: model.clone(),
                model,
            },
            None => self.models()?,
        };
        let mut started = self.run_started(&run_name, target.as_ref(), slice.ledger(), &models)?;
        started.traceparent = query.traceparent;
        let trajectory = Trajectory::begin(target.as_ref(), query.watcher, started)?;
        let streamed = Arc::clone(&query.streamed);
        let run = self.run_parts(trajectory, query.cancel.child_token(), models, streamed);
        let node = Arc::new(Node::new(
            sessions::asker_of(&bound, slice.ledger().clone(), run),
            query.question,
            query.context,
            schema,
            Arc::clone(&bound.attempts),
        ));
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
            run: run_name,
            trajectory: target.map(|target| target.path),
        })
    }

    fn run_parts(
        &self,
        trajectory: Trajectory,
        cancel: CancellationToken,
        models: Models,
        streamed: Arc<AtomicU64>,
    ) -> Arc<Run> {
        let inner = &self.inner;
        Arc::new(Run::new(RunParts {
            config: Arc::clone(&inner.config),
            llm: models.llm,
            model: models.model,
            sub_model: models.sub_model,
            environments: Arc::clone(&inner.environments),
            owner: inner.owner,
            kg: inner.kg.clone(),
            trajectory,
            bridges: inner.bridges.clone(),
            calls: inner.calls.clone(),
            max_wall_clock: Duration::from_millis(inner.config.max_wall_clock_ms),
            streamed,
            cancel,
        }))
    }

    fn run_started(
        &self,
        run: &str,
        target: Option<&TrajectoryFile>,
        ledger: &ukernel_budget::Ledger,
        models: &Models,
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
            model: models.model.to_string(),
            sub_model: models.sub_model.to_string(),
            origin: models.llm.model_info(&models.model)?.origin.to_string(),
            traceparent: None,
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
        let (verbose, days) = (config.enable_verbose_tracing, config.trace_retention_days);
        Ok(Some(TrajectoryFile::in_folder(folder, run, verbose, days)?))
    }
}

/// Who is asked in a run.
struct Models {
    llm: Arc<dyn GenericLlmClient>,
    model: ModelName,
    sub_model: ModelName,
}

/// Cancels a session nobody knows when it is dropped.
struct CancelOnDrop(Option<Arc<dyn Environment>>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if let Some(session) = &self.0 {
            session.token().cancel();
        }
    }
}
