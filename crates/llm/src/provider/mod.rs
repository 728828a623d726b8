//! Asks models over HTTP. The wire formats are the library's (genai); bounds, retries,
//! cancellation and the reading of what the library passes over are here.
//!
//! ```text
//!   a call ──> attempt ──> reply
//!                │ ^
//!                │ └── wait (Retry-After, or backoff) ── only RateLimited, Overloaded, Connect, and
//!                v                                       Server by 500, 502, 504; only if no part of a reply came
//!             failure
//! ```
//! A connection that was kept from an earlier call may be closed by the server just when it is used again. Then a
//! request is sent once more, on another.

mod attempt;
mod calls;
mod failure;
mod frames;
mod http;
mod wire;

pub use http::http_client;

use crate::client::{GenericLlmClient, ModelInfo, Origin};
use crate::estimate::usage_or_estimate;
use crate::{
    Cost, FailureKind, FinishReason, LlmConfig, LlmError, ModelName, Provider, Redactor, Reply,
    Request, Result, Usage, UsageTotals, retry,
};
use async_trait::async_trait;
use attempt::{Attempt, Received};
use failure::Fault;
use frames::Seen;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Asks any provider of its configuration.
pub struct ProviderClient {
    config: LlmConfig,
    redactor: Redactor,
    library: genai::Client,
    totals: Mutex<UsageTotals>,
    /// Whether a reply has come, so that a connection may have been kept.
    has_replied: AtomicBool,
}

/// What led to the end of a call, for its totals and its failure.
struct Course<'a> {
    provider: &'a Provider,
    attempts: u32,
    started: Instant,
}

impl ProviderClient {
    /// A client. Nothing is connected yet.
    ///
    /// # Errors
    /// If the configuration makes no sense.
    pub fn new(config: LlmConfig) -> Result<Self> {
        if let Some(problem) = config.problem() {
            return Err(LlmError::Config(problem));
        }
        Ok(Self {
            redactor: config.redactor(),
            library: http::library(&config)?,
            config,
            totals: Mutex::default(),
            has_replied: AtomicBool::new(false),
        })
    }

    async fn call(
        &self,
        request: &Request,
        pieces: mpsc::Sender<String>,
        cancel: &CancellationToken,
    ) -> Result<Reply> {
        if let Some(problem) = request.problem() {
            return Err(LlmError::BadRequest(problem));
        }
        let (provider, name) = hosted(&request.model)?;
        let endpoint = self.config.endpoint(provider)?;
        let attempt = Attempt {
            library: &self.library,
            limits: &self.config.limits,
            request,
            provider,
            name,
            endpoint: &endpoint,
            pieces: &pieces,
        };
        let mut course = Course {
            provider,
            attempts: 0,
            started: Instant::now(),
        };
        let mut waited = Duration::ZERO;
        let mut may_be_kept = self.has_replied.load(Ordering::Relaxed);
        loop {
            let mut received = Received::default();
            let outcome = tokio::select! {
                biased;
                () = cancel.cancelled() => Err(Fault::of(FailureKind::Cancelled)),
                outcome = attempt.run(&mut received, &mut course.attempts) => outcome,
            };
            let fault = match outcome {
                Ok(()) => return self.reply(request, name, received, &course),
                Err(fault) => fault,
            };
            let policy = &self.config.retry;
            if fault.is_unanswered && may_be_kept && course.attempts < policy.max_attempts {
                may_be_kept = false;
                continue;
            }
            let wait = policy.wait(course.attempts, waited, fault.retry_after, retry::chance());
            let is_worth_it = fault.is_worth_another(provider, received.has_begun());
            let Some(wait) = wait.filter(|_| is_worth_it) else {
                return Err(self.failed(request, fault, &received, &course));
            };
            tokio::select! {
                biased;
                () = cancel.cancelled() => {
                    let kind = FailureKind::Cancelled;
                    return Err(self.failed(request, Fault { kind, ..fault }, &received, &course));
                }
                () = tokio::time::sleep(wait) => waited += wait,
            }
        }
    }

    /// The reply of a stream that ended well, unless it is empty.
    fn reply(
        &self,
        request: &Request,
        name: &str,
        received: Received,
        course: &Course<'_>,
    ) -> Result<Reply> {
        self.has_replied.store(true, Ordering::Relaxed);
        let seen = received.frames.seen();
        let finish = received.finish(&seen);
        let text = match received.text.is_empty() {
            true => seen.refusal.clone(),
            false => received.text.clone(),
        };
        if text.is_empty() && finish != FinishReason::Filtered {
            let reason = seen.finish.as_deref().unwrap_or("none given");
            let fault = Fault::said(FailureKind::Empty, format!("finish reason: {reason}"));
            return Err(self.failed(request, fault, &received, course));
        }
        let usage = received.usage(request);
        let cost = self.cost(request, course.provider, &seen, &usage);
        self.count(true, course.attempts, Some(usage), cost);
        Ok(Reply {
            text,
            finish,
            usage,
            cost,
            model: seen.model.unwrap_or_else(|| name.to_owned()),
            latency: course.started.elapsed(),
            attempts: course.attempts,
        })
    }

    /// The failure of a call, without keys, with what it may have used.
    fn failed(
        &self,
        request: &Request,
        fault: Fault,
        received: &Received,
        course: &Course<'_>,
    ) -> LlmError {
        let may_cost = course.attempts > 0 && fault.may_cost;
        let usage = may_cost.then(|| received.usage(request));
        let seen = received.frames.seen();
        let cost = usage.and_then(|usage| self.cost(request, course.provider, &seen, &usage));
        self.count(false, course.attempts, usage, cost);
        let provider = course.provider.to_string();
        fault
            .into_failure(provider, course.attempts, usage, cost, &self.redactor)
            .into()
    }

    /// What a call cost: the provider's word where it is known to be in dollars, or else that of
    /// the price.
    fn cost(
        &self,
        request: &Request,
        provider: &Provider,
        seen: &Seen,
        usage: &Usage,
    ) -> Option<Cost> {
        let said = match provider {
            Provider::OpenRouter => seen.cost_dollars.and_then(Cost::of_provider),
            _ => None,
        };
        said.or_else(|| Some(Cost::of_price(&self.config.price(&request.model)?, usage)))
    }

    fn count(&self, is_reply: bool, attempts: u32, usage: Option<Usage>, cost: Option<Cost>) {
        let mut totals = self.totals.lock().unwrap_or_else(PoisonError::into_inner);
        totals.add(is_reply, attempts, usage, cost);
    }
}

#[async_trait]
impl GenericLlmClient for ProviderClient {
    async fn stream(
        &self,
        request: &Request,
        pieces: mpsc::Sender<String>,
        cancel: &CancellationToken,
    ) -> Result<Reply> {
        self.call(request, pieces, cancel).await
    }

    fn model_info(&self, model: &ModelName) -> Result<ModelInfo> {
        let (provider, _) = hosted(model)?;
        let endpoint = self.config.endpoint(provider)?;
        Ok(ModelInfo {
            model: model.clone(),
            origin: Origin::Provider {
                base_url: endpoint.base_url,
            },
            price: self.config.price(model),
        })
    }

    fn usage(&self) -> UsageTotals {
        *self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Provider and name of a model that is not a replay.
fn hosted(model: &ModelName) -> Result<(&Provider, &str)> {
    match model {
        ModelName::Hosted { provider, name } => Ok((provider, name)),
        ModelName::Replay(_) => Err(LlmError::BadRequest(
            "a replay is played by a client of its own",
        )),
    }
}

impl Received {
    /// Tokens used as far as it has come.
    fn usage(&self, request: &Request) -> Usage {
        let (prompt, completion) = self.counted;
        usage_or_estimate(request, self.bytes, prompt, completion)
    }
}
