//! A runtime for every test, over one store; and models that say what a test wants.

use async_trait::async_trait;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use terraphim_rlm::trajectory::{Event, Record};
use terraphim_rlm::{
    Context, Query, RlmConfig, RlmError, RlmResponse, SandboxConfig, Surroundings, TerraphimRlm,
};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use ukernel_image::Progress;
use ukernel_llm::{
    Failure, FailureKind, FinishReason, GenericLlmClient, LlmError, ModelInfo, ModelName, Origin,
    Reply, Request, Usage, UsageTotals,
};
use ukernel_machine::probe::ProbeConfig;
use ukernel_vmm::LauncherOptions;

struct Steps;

impl Progress for Steps {
    fn step(&self, text: &str) {
        eprintln!("{text}");
    }
}

fn home() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/ukernel-test-store")
}

/// Small sizes. A host that cannot run VMs says so when the first runtime is made.
pub fn config() -> RlmConfig {
    RlmConfig {
        sandbox: SandboxConfig {
            pool_min_size: 1,
            pool_target_size: 2,
            allocation_timeout_ms: 10_000,
            memory_mib: 256,
            initial_overlay_mb: 8,
            max_overlay_mb: 256,
            ..SandboxConfig::default()
        },
        home: Some(home()),
        llm_provider: "scripted".to_owned(),
        llm_model: "model".to_owned(),
        ..RlmConfig::default()
    }
}

/// The same, where commands may take so long.
pub fn hasty(execution_timeout_ms: u64) -> RlmConfig {
    let mut config = config();
    config.sandbox.execution_timeout_ms = execution_timeout_ms;
    config
}

/// A runtime that asks `model`.
pub async fn runtime(config: RlmConfig, model: Arc<Scripted>) -> TerraphimRlm {
    let runtime = open(config, Some(model)).await;
    runtime.expect("a runtime")
}

/// A runtime that asks `model`, else the models of the configuration.
pub async fn open(
    config: RlmConfig,
    model: Option<Arc<Scripted>>,
) -> Result<TerraphimRlm, RlmError> {
    let surroundings = Surroundings {
        vm_process: Some(LauncherOptions::new(
            env!("CARGO_BIN_EXE_terraphim-rlm-vm"),
            [],
        )),
        probe: Some(probe()),
        llm: model.map(|model| model as Arc<_>),
    };
    TerraphimRlm::with(config, surroundings, Arc::new(Steps)).await
}

/// A runtime that plays a file.
pub async fn replaying(file: &Path) -> TerraphimRlm {
    let replayed = RlmConfig {
        llm_provider: "replay".to_owned(),
        llm_model: file.display().to_string(),
        ..config()
    };
    open(replayed, None).await.expect("a runtime")
}

pub fn probe() -> ProbeConfig {
    ProbeConfig {
        path: std::env::var_os("PATH").unwrap_or_default(),
        firecracker: std::env::var_os("UKERNEL_FIRECRACKER").map(PathBuf::from),
        state_dir: home(),
    }
}

/// A model that a function plays. It is told whether it is asked for a step or by `query_llm`.
pub struct Scripted {
    play: Box<dyn Fn(&Ask<'_>) -> Said + Send + Sync>,
    pub asked: Mutex<Vec<Request>>,
    /// Calls that are waited for now.
    pub under_way: AtomicU64,
    /// Replies in pieces end with a permit of this.
    pub go_on: Semaphore,
}

/// What a scripted model is asked.
pub struct Ask<'a> {
    pub request: &'a Request,
    /// The last message.
    pub last: &'a str,
    /// Whether it is a step of a node: there are rules.
    pub is_step: bool,
    /// Replies it has given in this conversation.
    pub replies: usize,
}

/// What it says.
pub enum Said {
    Text(String),
    After(Duration, String),
    /// A text that ends at the limit of tokens.
    Cut(String),
    /// Its pieces at once, and its end when the test says so.
    Pieces(Vec<&'static str>),
    Fails(FailureKind),
    Never,
}

impl From<&str> for Said {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Said {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl Scripted {
    pub fn new(play: impl Fn(&Ask<'_>) -> Said + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            play: Box::new(play),
            asked: Mutex::default(),
            under_way: AtomicU64::new(0),
            go_on: Semaphore::new(0),
        })
    }

    /// One that replies to steps from a list, and to queries with `echo: ` and the prompt.
    pub fn steps(replies: &'static [&'static str]) -> Arc<Self> {
        Self::new(|ask| {
            if ask.is_step {
                (*replies
                    .get(ask.replies)
                    .unwrap_or(&"FINAL(ran out of replies)"))
                .into()
            } else {
                format!("echo: {}", ask.last).into()
            }
        })
    }

    /// The last message of each request for a step.
    pub fn steps_told(&self) -> Vec<String> {
        let asked = self.asked.lock().expect("a lock");
        let steps = asked
            .iter()
            .filter(|request| request.messages[0].role == ukernel_llm::Role::System);
        let last = |request: &Request| request.messages.last().map(|last| last.text.clone());
        steps.filter_map(last).collect()
    }

    pub fn prompts(&self) -> Vec<String> {
        let asked = self.asked.lock().expect("a lock");
        let text = |request: &Request| {
            let texts = request.messages.iter().map(|message| message.text.as_str());
            texts.collect::<Vec<_>>().join("\n")
        };
        asked.iter().map(text).collect()
    }
}

/// Falls when a call ends, however it does.
struct UnderWay<'a>(&'a AtomicU64);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl GenericLlmClient for Scripted {
    async fn stream(
        &self,
        request: &Request,
        pieces: mpsc::Sender<String>,
        cancel: &CancellationToken,
    ) -> Result<Reply, LlmError> {
        self.asked.lock().expect("a lock").push(request.clone());
        self.under_way.fetch_add(1, Ordering::SeqCst);
        let _under_way = UnderWay(&self.under_way);
        let said = (self.play)(&Ask {
            request,
            last: &request.messages.last().expect("a message").text,
            is_step: request.messages[0].role == ukernel_llm::Role::System,
            replies: request
                .messages
                .iter()
                .filter(|message| message.role == ukernel_llm::Role::Assistant)
                .count(),
        });
        let failure = |kind| Failure {
            provider: "scripted".to_owned(),
            kind,
            status: None,
            message: "as the test wants".to_owned(),
            retry_after: None,
            attempts: 1,
            usage: None,
            cost: None,
        };
        let finish = match said {
            Said::Cut(_) => FinishReason::Length,
            _ => FinishReason::Stop,
        };
        let text = match said {
            Said::Text(text) | Said::Cut(text) => text,
            Said::After(wait, text) => {
                tokio::select! {
                    () = tokio::time::sleep(wait) => text,
                    () = cancel.cancelled() => return Err(failure(FailureKind::Cancelled).into()),
                }
            }
            Said::Pieces(texts) => {
                for piece in &texts {
                    // A listener that is gone does not change the reply.
                    let _ = pieces.send((*piece).to_owned()).await;
                }
                self.go_on.acquire().await.expect("open").forget();
                texts.concat()
            }
            Said::Fails(kind) => return Err(failure(kind).into()),
            Said::Never => {
                cancel.cancelled().await;
                return Err(failure(FailureKind::Cancelled).into());
            }
        };
        let prompt: usize = request.messages.iter().map(|one| one.text.len()).sum();
        Ok(Reply {
            usage: Usage {
                prompt_tokens: prompt as u64 / 4,
                completion_tokens: text.len() as u64 / 4 + 1,
                is_estimated: false,
            },
            text,
            finish,
            cost: None,
            model: "scripted".to_owned(),
            latency: Duration::ZERO,
            attempts: 1,
        })
    }

    fn model_info(&self, model: &ModelName) -> Result<ModelInfo, LlmError> {
        Ok(ModelInfo {
            model: model.clone(),
            origin: Origin::Provider {
                base_url: "a test".to_owned(),
            },
            price: None,
        })
    }

    fn usage(&self) -> UsageTotals {
        UsageTotals::default()
    }
}

/// Records of a run, as they happened.
#[derive(Clone, Default)]
pub struct Records(Arc<Mutex<Vec<Record>>>);

impl Records {
    pub fn all(&self) -> Vec<Record> {
        self.0.lock().expect("a lock").clone()
    }

    pub fn events(&self) -> Vec<Event> {
        self.all().into_iter().map(|record| record.event).collect()
    }

    pub fn watcher(&self) -> Arc<dyn Fn(&Record) + Send + Sync> {
        let records = Arc::clone(&self.0);
        Arc::new(move |record| records.lock().expect("a lock").push(record.clone()))
    }
}

/// Asks over a text; the answer and what happened.
pub async fn ask_over(
    rlm: &TerraphimRlm,
    question: &str,
    text: &str,
) -> (Result<RlmResponse, RlmError>, Records) {
    let records = Records::default();
    let context = if text.is_empty() {
        Context::default()
    } else {
        Context::text("context", text)
    };
    let answered = rlm
        .ask(Query {
            question: question.to_owned(),
            context,
            watcher: Some(records.watcher()),
            ..Query::default()
        })
        .await;
    (answered, records)
}

/// Asks with a model and the default sizes.
pub async fn ask(model: Arc<Scripted>, text: &str) -> (Result<RlmResponse, RlmError>, Records) {
    let rlm = runtime(config(), model).await;
    let asked = ask_over(&rlm, "What is it?", text).await;
    rlm.stop().await;
    asked
}
