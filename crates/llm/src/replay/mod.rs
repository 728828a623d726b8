//! Plays conversations from a file. No model is asked.
//!
//! A replay is a file of JSON lines; empty lines do not count. Each line says which request it
//! answers and how, in full ([`Line`]):
//!
//! ```json
//! {"version":1,"when":{"contains":["How many"]},"reply":{"text":"print(len(context))"}}
//! {"version":1,"when":{"last_contains":["4711"]},"delay_ms":200,"failure":{"kind":"rate_limited","status":429,"retry_after_ms":1000}}
//! {"version":1,"when":{"last_contains":["summarise"]},"order":"any","repeat":true,"reply":{"text":"short","usage":{"prompt_tokens":9,"completion_tokens":1}}}
//! {"version":1,"when":{"digest":"9c1f…"},"order":"any","reply":{"text":"recorded"},"note":"the last message"}
//! ```
//!
//! - `when` is matched on content: the digest of the request (what a [`Recorder`](crate::Recorder)
//!   writes), or texts that have to be in it (what people write). The model does not count.
//! - Lines are played from top to bottom, once each. A line of `"order":"any"` may be played
//!   whenever its request comes, and with `"repeat":true` again and again: for sub-queries that
//!   run side by side.
//! - A request that no line is for is an error that shows what was expected and what came. It is
//!   never answered with something else, and never asked of a model.
//! - `failure` and `delay_ms` script faults; `after` is text that a stream brings before it fails.
//!   Usage and cost are the recorded ones, so that budgets behave as they did.

mod line;
mod script;

pub use line::{
    Line, MAX_DELAY_MS, MAX_FILE_BYTES, MAX_LINE_BYTES, MAX_LINES, Order, PlayedFailure,
    PlayedReply, VERSION, When,
};

use crate::client::{GenericLlmClient, ModelInfo, Origin};
use crate::estimate::usage_or_estimate;
use crate::{Failure, FailureKind, LlmError, ModelName, Reply, Request, Result, UsageTotals};
use async_trait::async_trait;
use script::Script;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Who answers, as failures name it.
const PROVIDER: &str = "replay";

/// Plays a file. It answers for any model's name, because a recording is of several.
pub struct ReplayClient {
    script: Mutex<Script>,
    totals: Mutex<UsageTotals>,
}

impl ReplayClient {
    /// A client that plays this file from its beginning. The file is read and checked now.
    ///
    /// # Errors
    /// [`LlmError::BadReplay`] with the line that is none.
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self {
            script: Mutex::new(Script::read(path)?),
            totals: Mutex::default(),
        })
    }

    /// A client that plays these lines. `path` names them in errors.
    #[must_use]
    pub fn of_lines(path: &Path, lines: Vec<Line>) -> Self {
        Self {
            script: Mutex::new(Script::of_lines(path, lines)),
            totals: Mutex::default(),
        }
    }

    /// Lines that were not played; those that repeat do not count. A test that has played all it
    /// expected finds 0.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.script().remaining()
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn play(
        &self,
        request: &Request,
        pieces: mpsc::Sender<String>,
        cancel: &CancellationToken,
    ) -> Result<Reply> {
        if let Some(problem) = request.problem() {
            return Err(LlmError::BadRequest(problem));
        }
        let started = Instant::now();
        let line = self.script().play(request)?;
        let telling = async {
            tokio::time::sleep(Duration::from_millis(line.delay_ms)).await;
            let reply = line.reply.as_ref().map(|reply| reply.text.as_str());
            let after = line.failure.as_ref().map(|failure| failure.after.as_str());
            let text = reply.or(after).unwrap_or_default();
            for piece in text.split_inclusive('\n') {
                // A listener that is gone does not change the reply.
                let _ = pieces.send(piece.to_owned()).await;
            }
        };
        tokio::select! {
            biased;
            () = cancel.cancelled() => {
                let failure = PlayedFailure::of(FailureKind::Cancelled);
                return Err(self.failed(failure));
            }
            () = telling => {}
        }
        match (line.reply, line.failure) {
            (Some(reply), _) => Ok(self.replied(request, reply, started)),
            (None, Some(failure)) => Err(self.failed(failure)),
            (None, None) => Err(self.failed(PlayedFailure::of(FailureKind::Empty))),
        }
    }

    fn replied(&self, request: &Request, reply: PlayedReply, started: Instant) -> Reply {
        let bytes = reply.text.len() as u64;
        let usage = reply.usage;
        let usage = usage.unwrap_or_else(|| usage_or_estimate(request, bytes, None, None));
        self.totals().add(true, 1, Some(usage), reply.cost);
        Reply {
            text: reply.text,
            finish: reply.finish,
            usage,
            cost: reply.cost,
            model: reply.model.unwrap_or_else(|| PROVIDER.to_owned()),
            latency: started.elapsed(),
            attempts: 1,
        }
    }

    fn failed(&self, failure: PlayedFailure) -> LlmError {
        self.totals().add(false, 1, failure.usage, failure.cost);
        let failure = Failure {
            provider: failure.provider.unwrap_or_else(|| PROVIDER.to_owned()),
            kind: failure.kind,
            status: failure.status,
            message: failure.message,
            retry_after: failure.retry_after_ms.map(Duration::from_millis),
            attempts: failure.attempts.unwrap_or(1),
            usage: failure.usage,
            cost: failure.cost,
        };
        failure.into()
    }

    fn totals(&self) -> MutexGuard<'_, UsageTotals> {
        self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PlayedFailure {
    fn of(kind: FailureKind) -> Self {
        Self {
            kind,
            provider: None,
            attempts: None,
            message: String::new(),
            status: None,
            retry_after_ms: None,
            usage: None,
            cost: None,
            after: String::new(),
        }
    }
}

#[async_trait]
impl GenericLlmClient for ReplayClient {
    async fn stream(
        &self,
        request: &Request,
        pieces: mpsc::Sender<String>,
        cancel: &CancellationToken,
    ) -> Result<Reply> {
        self.play(request, pieces, cancel).await
    }

    fn model_info(&self, model: &ModelName) -> Result<ModelInfo> {
        let script = self.script();
        Ok(ModelInfo {
            model: model.clone(),
            origin: Origin::Replay {
                path: script.path().to_owned(),
                lines: script.len(),
            },
            price: None,
        })
    }

    fn usage(&self) -> UsageTotals {
        *self.totals()
    }
}
