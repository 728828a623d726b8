//! What code in a VM may ask for: each call is held against the session's token, charged, and
//! written down.

use super::{Node, queries};
use crate::trajectory::Event;
use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use ukernel_sandbox::environment::{CallResult, HostCall, HostCalls, SessionToken};

/// Largest piece of context handed out at once, in bytes.
const MAX_PIECE_BYTES: usize = 8 << 20;

/// Calls of one run, its children included.
const MAX_CALLS: u32 = 100_000;

/// Whether two tokens are the same, in a time that does not depend on where they differ.
pub(crate) fn is_same(one: &SessionToken, other: &SessionToken) -> bool {
    // The comparison of hashes takes constant time.
    blake3::Hash::from_bytes(*one) == blake3::Hash::from_bytes(*other)
}

/// The calls of one execution of a node. When this is dropped they are refused.
pub(crate) struct Bridge {
    gate: Arc<Gate>,
}

/// What an execution holds on to.
struct Gate {
    node: Arc<Node>,
    is_open: AtomicBool,
}

impl Bridge {
    pub(crate) fn open(node: &Arc<Node>) -> Self {
        Self {
            gate: Arc::new(Gate {
                node: Arc::clone(node),
                is_open: AtomicBool::new(true),
            }),
        }
    }

    pub(crate) fn calls(&self) -> Arc<dyn HostCalls> {
        Arc::clone(&self.gate) as Arc<dyn HostCalls>
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.gate.is_open.store(false, Ordering::Release);
    }
}

#[async_trait]
impl HostCalls for Gate {
    fn token(&self) -> SessionToken {
        self.node.token
    }

    async fn answer(&self, call: HostCall) -> CallResult {
        if !is_same(&call.token, &self.node.token) {
            return Err("this is not the session's token".to_owned());
        }
        if !self.is_open.load(Ordering::Acquire) || self.node.cancel.is_cancelled() {
            return Err("the execution that asks has ended".to_owned());
        }
        match call.name.as_str() {
            "context" => self.context(&call.payload).await,
            "contexts" => Ok(json!({"sources": self.node.context.list()})
                .to_string()
                .into_bytes()),
            "final" => self.noted(&call, 0, self.take_answer(&call.payload)).await,
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
            other => Err(format!(
                "there is no host call `{}`",
                other.escape_debug().take(40).collect::<String>()
            )),
        }
    }
}

fn read<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(payload).map_err(|error| format!("the call makes no sense: {error}"))
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
    async fn context(&self, payload: &[u8]) -> CallResult {
        let piece: Piece = read(payload)?;
        let length = piece.length.min(MAX_PIECE_BYTES);
        self.node
            .context
            .read(piece.source, piece.offset, length)
            .await
    }

    async fn take_answer(&self, payload: &[u8]) -> CallResult {
        let answer: Final = read(payload)?;
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

    async fn noted(
        &self,
        call: &HostCall,
        items: usize,
        answer: impl Future<Output = CallResult>,
    ) -> CallResult {
        let number = self.number()?;
        self.follow(call, number, items, answer).await
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
