//! What code in a VM may ask for: each call is held against the session's token, charged, and
//! written down.

use super::{Node, queries};
use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;
use tokio_util::sync::CancellationToken;
use ukernel_sandbox::environment::{CallResult, HostCall, HostCalls, SessionToken};
use ukernel_trajectory::Event;

/// Largest piece of context handed out at once, in bytes.
const MAX_PIECE_BYTES: usize = 8 << 20;

/// Calls of one run, its children included.
const MAX_CALLS: u32 = 100_000;

/// Whether two tokens are the same, in a time that does not depend on where they differ.
pub(crate) fn is_same(one: &SessionToken, other: &SessionToken) -> bool {
    // The comparison of hashes takes constant time.
    blake3::Hash::from_bytes(*one) == blake3::Hash::from_bytes(*other)
}

/// The calls of one execution of a node. When this is dropped they are refused, and those that came
/// over HTTP end.
pub(crate) struct Bridge {
    gate: Arc<Gate>,
}

/// What an execution holds on to.
pub(crate) struct Gate {
    node: Arc<Node>,
    /// Cancelled when the bridge is dropped, or with its node.
    closed: CancellationToken,
    is_held: bool,
}

/// Why a call has no answer.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The token is not the session's.
    Foreign,
    /// What the token was for has ended.
    Ended,
    /// It makes no sense.
    Malformed(String),
    /// The host says no.
    Denied(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Foreign => "this is not the session's token",
            Self::Ended => "the execution that asks has ended",
            Self::Malformed(reason) | Self::Denied(reason) => reason,
        })
    }
}

impl Bridge {
    /// For an execution that the host follows.
    pub(crate) fn open(node: &Arc<Node>) -> Self {
        Self::enter(node, false)
    }

    /// For executions of which the host sees neither beginning nor end.
    pub(crate) fn hold(node: &Arc<Node>) -> Self {
        Self::enter(node, true)
    }

    fn enter(node: &Arc<Node>, is_held: bool) -> Self {
        let gate = Arc::new(Gate {
            node: Arc::clone(node),
            closed: node.cancel.child_token(),
            is_held,
        });
        node.run.bridges.enter(&gate);
        Self { gate }
    }

    pub(crate) fn calls(&self) -> Arc<dyn HostCalls> {
        Arc::clone(&self.gate) as Arc<dyn HostCalls>
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.gate.closed.cancel();
        self.gate.node.run.bridges.leave(&self.gate);
    }
}

#[async_trait]
impl HostCalls for Gate {
    fn token(&self) -> SessionToken {
        self.node.token
    }

    async fn answer(&self, call: HostCall) -> CallResult {
        let answered = self.answer_or_refuse(call).await;
        answered.map_err(|refusal| refusal.to_string())
    }
}

impl Gate {
    pub(super) fn is_held(&self) -> bool {
        self.is_held
    }

    pub(super) fn is_open(&self) -> bool {
        !self.closed.is_cancelled() && !self.node.session.token().is_cancelled()
    }

    /// Comes back when it is no longer open.
    pub(crate) async fn ended(&self) {
        tokio::select! {
            () = self.closed.cancelled() => (),
            () = self.node.session.token().cancelled() => (),
        }
    }

    pub(crate) async fn answer_or_refuse(&self, call: HostCall) -> Result<Vec<u8>, Refusal> {
        if !is_same(&call.token, &self.node.token) {
            return Err(Refusal::Foreign);
        }
        if !self.is_open() {
            return Err(Refusal::Ended);
        }
        let answered = match call.name.as_str() {
            "context" => self.context(read(&call.payload)?).await,
            "contexts" => Ok(json!({"sources": self.node.context.list()})
                .to_string()
                .into_bytes()),
            "final" => {
                let answer: Final = read(&call.payload)?;
                let taken = async { self.take_answer(answer) };
                self.noted_call(&call, 0, |_| taken).await
            }
            "query_llm" => {
                let queries: queries::Flat = read(&call.payload)?;
                let items = queries.prompts.len();
                self.noted_call(&call, items, |number| queries.answer(&self.node, number))
                    .await
            }
            "rlm_query" => {
                let queries: queries::Recursive = read(&call.payload)?;
                let items = queries.queries.len();
                self.noted_call(&call, items, |number| queries.answer(&self.node, number))
                    .await
            }
            other => return Err(unknown(other)),
        };
        answered.map_err(Refusal::Denied)
    }
}

fn unknown(name: &str) -> Refusal {
    Refusal::Malformed(format!(
        "there is no host call `{}`",
        name.escape_debug().take(40).collect::<String>()
    ))
}

fn read<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> Result<T, Refusal> {
    serde_json::from_slice(payload)
        .map_err(|error| Refusal::Malformed(format!("the call makes no sense: {error}")))
}

#[derive(Deserialize)]
struct Piece {
    source: usize,
    offset: u64,
    length: usize,
}

#[derive(Deserialize)]
struct Final {
    text: String,
    value: Option<Value>,
}

impl Gate {
    async fn context(&self, piece: Piece) -> CallResult {
        let length = piece.length.min(MAX_PIECE_BYTES);
        self.node
            .context
            .read(piece.source, piece.offset, length)
            .await
    }

    fn take_answer(&self, answer: Final) -> CallResult {
        self.node.offer(answer.text, answer.value)?;
        Ok(b"{}".to_vec())
    }

    async fn noted_call<F: Future<Output = CallResult>>(
        &self,
        call: &HostCall,
        items: usize,
        answer: impl FnOnce(u32) -> F,
    ) -> CallResult {
        let number = self.number()?;
        self.follow(call, number, items, answer(number)).await
    }

    /// Names a call within the run.
    fn number(&self) -> Result<u32, String> {
        let number = self.node.run.next_call();
        if number > MAX_CALLS {
            return Err(format!(
                "there were {MAX_CALLS} host calls in this run, and may be no more"
            ));
        }
        Ok(number)
    }

    /// Writes down that a call begins and ends.
    async fn follow(
        &self,
        call: &HostCall,
        number: u32,
        items: usize,
        answer: impl Future<Output = CallResult>,
    ) -> CallResult {
        let trajectory = &self.node.run.trajectory;
        trajectory.add(
            self.node.id,
            Event::CallStarted {
                call: number,
                name: call.name.clone(),
                items: u32::try_from(items).unwrap_or(u32::MAX),
                bytes: call.payload.len() as u64,
            },
        );
        let began = Instant::now();
        let answer = answer.await;
        trajectory.add(
            self.node.id,
            Event::CallEnded {
                call: number,
                error: answer.as_ref().err().cloned(),
                total_ms: began.elapsed().as_secs_f64() * 1e3,
            },
        );
        answer
    }
}
