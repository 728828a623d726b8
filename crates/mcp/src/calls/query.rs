//! `rlm_query`.

use super::{Desk, Outcome};
use crate::approval::Asked;
use crate::args::QueryArgs;
use crate::replies::{Answered, Failure, Reply, Status};
use crate::tasks::Task;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use terraphim_rlm::trajectory::{Event, Record};
use terraphim_rlm::{Context, Query, RlmConfig, RlmError};

impl Desk {
    pub(crate) async fn query(&self, args: QueryArgs, task: Arc<Task>) -> Outcome {
        match self.try_query(args, &task).await {
            Ok(outcome) => outcome,
            Err(failure) => Outcome::failed::<Answered>(failure, task.record().session),
        }
    }

    async fn try_query(&self, args: QueryArgs, task: &Arc<Task>) -> Result<Outcome, Failure> {
        task.progress(0, "opens the runtime");
        let rlm = self.rlm().await?;
        let config = rlm.config();
        let handle = task.record().session.or(args.session);
        let session = match self.session_if_any(handle.as_deref()).await? {
            Some(session) => Some(session),
            // What a person decides on terms is kept with a session.
            None if config.kg_thesaurus.is_some() && self.can_ask => {
                Some(self.session_or_new(None).await?)
            }
            None => None,
        };
        if let Some(session) = &session {
            task.runs_in(&session.handle);
        }
        let meter = Arc::new(Meter::new(config, Arc::clone(task)));
        let query = Query {
            question: args.question,
            context: match args.context {
                Some(text) => Context::text("context", text),
                None => Context::default(),
            },
            session: session.as_ref().map(|session| session.id),
            schema: args.schema,
            model: self.model.clone(),
            traceparent: self.traceparent.clone(),
            watcher: Some(Arc::new(move |record| meter.see(record))),
            streamed: Arc::default(),
            cancel: task.cancel.child_token(),
            trace: None,
        };
        let answered = rlm.ask(query).await;
        match answered {
            Ok(response) => {
                let told = Answered {
                    answer: Some(response.answer),
                    // What would be rounded is in the answer's text only.
                    value: response.value.and_then(|value| value.value()),
                    partial: response.partial,
                    // Plain structures always become JSON.
                    spent: serde_json::to_value(response.spent).ok(),
                    run: Some(response.run),
                    progress: None,
                };
                let handle = session.map(|session| session.handle);
                let reply = Reply::new(Status::Ok, handle, told);
                Ok(Outcome::Result(reply.result(Vec::new())))
            }
            Err(RlmError::KgEscalationRequired {
                unknown_terms,
                context,
                ..
            }) if self.can_ask && session.is_some() => Ok(Outcome::Asks(Asked {
                session: session.map(|session| session.handle).unwrap_or_default(),
                terms: unknown_terms,
                context,
            })),
            Err(error) => Err(self.explain(&error)),
        }
    }

    /// An error, with how to configure a model if there is none.
    fn explain(&self, error: &RlmError) -> Failure {
        let mut failure = Failure::of(error);
        let is_setup = matches!(error, RlmError::LlmProviderError { is_setup: true, .. });
        if is_setup && !self.shared.options.has_model {
            failure.message = format!(
                "{error}. hint: no model is configured: set UKERNEL_LLM_PROVIDER and UKERNEL_LLM_MODEL \
                 in the server's environment (such as ollama and qwen3 with a local Ollama), or \
                 name a configuration file with `ukernel mcp --config`; docs/mcp.md shows both"
            );
        }
        failure
    }
}

/// How far a query is: the largest part of a limit that is used.
struct Meter {
    task: Arc<Task>,
    began: Instant,
    max_ms: u64,
    max_tokens: u64,
    max_steps: u32,
    tokens: Mutex<u64>,
}

impl Meter {
    fn new(config: &RlmConfig, task: Arc<Task>) -> Self {
        Self {
            task,
            began: Instant::now(),
            max_ms: config.max_wall_clock_ms,
            max_tokens: config.max_total_tokens,
            max_steps: config.max_iterations,
            tokens: Mutex::new(0),
        }
    }

    fn see(&self, record: &Record) {
        let is_root = record.node == 0;
        let mut step = 0;
        let mut used = 0;
        let text = match &record.event {
            Event::ModelAsked { step: at, .. } if is_root => {
                step = *at;
                format!("step {at}: the model writes")
            }
            Event::ModelReplied { reply, .. } => {
                used = reply.usage.total_tokens();
                "the model has replied".to_owned()
            }
            Event::CommandStarted { step: at, kind, .. } if is_root => {
                step = *at;
                format!("step {at}: {kind} runs")
            }
            Event::CallStarted { name, items, .. } => format!("{name} asks {items}"),
            Event::QueryReplied { reply, .. } => {
                used = reply.usage.total_tokens();
                "a sub-query is answered".to_owned()
            }
            _ => return,
        };
        let tokens = {
            let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
            *tokens = tokens.saturating_add(used);
            *tokens
        };
        let elapsed_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let part = |used: u64, of: u64| used.saturating_mul(100) / of.max(1);
        let percent = part(tokens, self.max_tokens)
            .max(part(elapsed_ms, self.max_ms))
            .max(part(u64::from(step), u64::from(self.max_steps)));
        self.task
            .progress(u8::try_from(percent.min(99)).unwrap_or(99), &text);
    }
}
