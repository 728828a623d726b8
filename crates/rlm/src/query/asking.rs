//! Asking a model: reserved before, settled after, whatever becomes of it.

use super::{Asker, Node, Run};
use crate::RlmError;
use crate::error::Problem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;
use ukernel_budget::Spent;
use ukernel_budget::{Amount, Exceeded, Reservation, prompt_bound};
use ukernel_llm::{
    Cost, Failure, FailureKind, LlmError, Message, Reply, Request, RequestDigest, Usage,
    estimate_tokens,
};
use ukernel_trajectory::{Event, FailedCall, ModelReply, spent_of_call};

/// Pieces of a reply that may wait to be counted.
const PIECES: usize = 64;

/// Why there is no reply.
#[derive(Debug)]
pub(crate) enum NoReply {
    /// The budget does not suffice. Nothing was asked.
    Exceeded(Exceeded),
    /// The call failed.
    Failed {
        error: LlmError,
        digest: RequestDigest,
    },
}

impl NoReply {
    /// What happened to the call, if there was one.
    pub(crate) fn kind(&self) -> Option<FailureKind> {
        match self {
            Self::Failed { error, .. } => error.failure().map(|failure| failure.kind),
            Self::Exceeded(_) => None,
        }
    }

    /// For the trajectory.
    pub(crate) fn failed_call(&self) -> Option<FailedCall> {
        let Self::Failed { error, digest } = self else {
            return None;
        };
        let failure = error.failure()?;
        Some(FailedCall {
            digest: *digest,
            provider: failure.provider.clone(),
            kind: failure.kind,
            status: failure.status,
            message: failure.message.clone(),
            retry_after_ms: failure
                .retry_after
                .and_then(|wait| u64::try_from(wait.as_millis()).ok()),
            attempts: failure.attempts,
            usage: failure.usage,
            cost: failure.cost,
        })
    }
}

impl std::fmt::Display for NoReply {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exceeded(exceeded) => exceeded.fmt(out),
            Self::Failed { error, .. } => error.fmt(out),
        }
    }
}

/// Bytes of all messages.
pub(crate) fn prompt_bytes(request: &Request) -> u64 {
    let lengths = request.messages.iter().map(|message| message.text.len());
    lengths.map(|length| length as u64).sum()
}

impl Asker {
    /// Asks a model, as `sub_calls` of the budget's queries.
    pub(crate) async fn ask(&self, request: &Request, sub_calls: u64) -> Result<Reply, NoReply> {
        let bytes = prompt_bytes(request);
        let want = self.run.bound(request, bytes, sub_calls);
        let reservation = self.ledger.reserve(want).await.map_err(NoReply::Exceeded)?;
        // The semaphore is never closed.
        let _permit = self.run.permits.acquire().await;
        let under_way = UnderWay::new(reservation, bytes, sub_calls);
        let outcome = self.listen(request).await;
        match outcome {
            Ok(reply) => {
                under_way.settle(Some(reply.usage), reply.cost);
                Ok(reply)
            }
            Err(error) => {
                let failure = error.failure();
                under_way.settle(
                    failure.and_then(|failure| failure.usage),
                    failure.and_then(|failure| failure.cost),
                );
                let digest = request.digest();
                Err(NoReply::Failed { error, digest })
            }
        }
    }
}

impl Asker {
    /// Asks, and counts what comes for whoever watches.
    async fn listen(&self, request: &Request) -> ukernel_llm::Result<Reply> {
        let (pieces, mut coming) = mpsc::channel(PIECES);
        let mut streaming = Streaming {
            all: Arc::clone(&self.run.streamed),
            bytes: 0,
        };
        let mut asking = self.run.llm.stream(request, pieces, &self.cancel);
        loop {
            tokio::select! {
                outcome = &mut asking => return outcome,
                Some(piece) = coming.recv() => streaming.add(piece.len() as u64),
            }
        }
    }
}

/// A reply that is coming. When it is whole, or nobody waits for it, it is not coming any more.
struct Streaming {
    all: Arc<AtomicU64>,
    bytes: u64,
}

impl Streaming {
    fn add(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.all.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Run {
    /// The most that a call can use.
    fn bound(&self, request: &Request, prompt_bytes: u64, sub_calls: u64) -> Amount {
        let usage = Usage {
            prompt_tokens: prompt_bound(prompt_bytes),
            completion_tokens: request.max_tokens.map_or(0, u64::from),
            is_estimated: true,
        };
        let price = self.price(&request.model);
        Amount {
            tokens: usage.total_tokens(),
            micro_dollars: price.map_or(0, |price| price.of(&usage)),
            sub_calls,
        }
    }
}

/// A call that has begun. If nobody waits for its end, its prompt was used all the same.
struct UnderWay {
    reservation: Option<Reservation>,
    prompt_bytes: u64,
    sub_calls: u64,
}

impl UnderWay {
    fn new(reservation: Reservation, prompt_bytes: u64, sub_calls: u64) -> Self {
        Self {
            reservation: Some(reservation),
            prompt_bytes,
            sub_calls,
        }
    }

    fn settle(mut self, usage: Option<Usage>, cost: Option<Cost>) {
        self.end(usage, cost);
    }

    fn end(&mut self, usage: Option<Usage>, cost: Option<Cost>) {
        let Some(reservation) = self.reservation.take() else {
            return;
        };
        reservation.settle(&Spent {
            sub_calls: self.sub_calls,
            ..spent_of_call(usage, cost)
        });
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let usage = Usage {
            prompt_tokens: estimate_tokens(self.prompt_bytes),
            completion_tokens: 0,
            is_estimated: true,
        };
        self.end(Some(usage), None);
    }
}

/// A reply, for the trajectory.
pub(crate) fn recorded(request: &Request, reply: &Reply) -> ModelReply {
    ModelReply {
        model: reply.model.clone(),
        digest: request.digest(),
        reply_bytes: reply.text.len() as u64,
        reply: Some(reply.text.clone()),
        finish: reply.finish,
        usage: reply.usage,
        cost: reply.cost,
        latency_ms: reply.latency.as_secs_f64() * 1e3,
        attempts: reply.attempts,
    }
}

/// Asks a model for a node's next step, and writes it down.
pub(super) async fn step(
    node: &Arc<Node>,
    request: &Request,
    new_messages: Vec<Message>,
) -> Result<Reply, NoReply> {
    let trajectory = &node.run.trajectory;
    let step = node.step();
    trajectory.add(
        node.id,
        Event::ModelAsked {
            step,
            prompt_bytes: prompt_bytes(request),
            new_messages: Some(new_messages),
        },
    );
    let asked = node.ask(request, 0).await;
    match &asked {
        Ok(reply) => {
            node.ledger.note(&Spent {
                steps: 1,
                ..Spent::default()
            });
            let reply = recorded(request, reply);
            trajectory.add(node.id, Event::ModelReplied { step, reply });
        }
        Err(no_reply) => trajectory.add(
            node.id,
            Event::ModelFailed {
                step,
                error: no_reply.to_string(),
                failed: no_reply.failed_call(),
            },
        ),
    }
    asked
}

/// A call without a reply, as the run's error.
pub(super) fn error_of(no_reply: NoReply) -> RlmError {
    match no_reply {
        NoReply::Failed { error, .. } if error.failure().is_some_and(is_cancelled) => {
            RlmError::Cancelled
        }
        NoReply::Failed { error, .. } => error.into(),
        NoReply::Exceeded(exceeded) => RlmError::internal(Problem::of(exceeded)),
    }
}

fn is_cancelled(failure: &Failure) -> bool {
    failure.kind == FailureKind::Cancelled
}

/// A run whose time is over.
pub(super) fn out_of_time(node: &Node) -> RlmError {
    let ms = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    RlmError::TimeBudgetExceeded {
        elapsed_ms: ms(node.run.elapsed()),
        limit_ms: ms(node.run.max_wall_clock),
    }
}

/// What a budget that is used up means for the run.
pub(super) fn over_budget(node: &Node, exceeded: Exceeded) -> RlmError {
    let spent = node.ledger.spent();
    match exceeded {
        Exceeded::Tokens {
            used,
            limit,
            wanted,
        } => RlmError::TokenBudgetExceeded {
            used: spent.tokens(),
            kept: used.saturating_sub(spent.tokens()),
            limit,
            wanted,
        },
        Exceeded::Money { limit, wanted, .. } => RlmError::MoneyBudgetExceeded {
            used: spent.micro_dollars,
            limit,
            wanted,
        },
        Exceeded::SubCalls { limit } => RlmError::SubCallBudgetExceeded { limit },
    }
}
