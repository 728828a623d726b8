//! Host calls by name: what code in a VM may ask for. Those of this crate are in the same table as those
//! that callers add.

use super::bridge::{Gate, Refusal};
use super::queries;
use crate::exact::Exact;
use async_trait::async_trait;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use tokio_util::sync::CancellationToken;
use ukernel_sandbox::SessionId;
use ukernel_sandbox::environment::HostCall;
use ukernel_trajectory::ContextShape;

/// Largest piece of context handed out at once, in bytes.
const MAX_PIECE_BYTES: usize = 8 << 20;

/// Longest name of a call, in bytes.
const MAX_NAME_BYTES: usize = 64;

/// Something that code in a VM can ask the host for by name, added with
/// [`TerraphimRlm::add_tool`](crate::TerraphimRlm::add_tool). Python calls it as
/// `ukernel.call(name, payload)`.
#[async_trait]
pub trait Tool: Send + Sync {
    /// Answers one call. Payload and answer are bytes that code and tool agree on, each of at most 16 MiB.
    /// It is dropped when nobody waits for the answer any more.
    ///
    /// # Errors
    /// Why there is no answer. The code gets it as an exception.
    async fn answer(&self, call: ToolCall) -> Result<Vec<u8>, String>;
}

/// A call of a [`Tool`].
#[derive(Clone, Debug)]
pub struct ToolCall {
    /// The session whose code calls.
    pub session: SessionId,
    /// What it says.
    pub payload: Vec<u8>,
    /// Cancelled when the code that calls, or its question, ends.
    pub cancel: CancellationToken,
}

/// Answers the calls of one name.
#[async_trait]
pub(super) trait Answers: Send + Sync {
    async fn answer(&self, gate: &Gate, call: &HostCall) -> Result<Vec<u8>, Refusal>;

    /// Whether what it answers is JSON.
    fn is_json(&self) -> bool {
        true
    }

    /// Whether it is a caller's tool.
    fn is_added(&self) -> bool {
        false
    }
}

/// The calls there are. Clones share them.
#[derive(Clone)]
pub(crate) struct Calls(Arc<RwLock<HashMap<String, Arc<dyn Answers>>>>);

impl Default for Calls {
    fn default() -> Self {
        let own: [(&str, Arc<dyn Answers>); 7] = [
            ("context", Arc::new(GiveContext)),
            ("contexts", Arc::new(ListContexts)),
            ("describe", Arc::new(TakeShape)),
            ("final", Arc::new(TakeAnswer)),
            ("keep", Arc::new(KeepAnswer)),
            ("query_llm", Arc::new(QueryLlm)),
            ("rlm_query", Arc::new(RlmQuery)),
        ];
        let own = own.map(|(name, answers)| (name.to_owned(), answers));
        Self(Arc::new(RwLock::new(HashMap::from(own))))
    }
}

impl Calls {
    pub(super) fn find(&self, name: &str) -> Option<Arc<dyn Answers>> {
        let calls = self.0.read().unwrap_or_else(PoisonError::into_inner);
        calls.get(name).cloned()
    }

    /// Names of the tools that were added, in their order.
    fn added(&self) -> Vec<String> {
        let calls = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let added = calls.iter().filter(|(_, answers)| answers.is_added());
        let mut names: Vec<String> = added.map(|(name, _)| name.clone()).collect();
        names.sort();
        names
    }

    /// Adds a tool. Says why it cannot be, if so.
    pub(crate) fn add(&self, name: &str, tool: Arc<dyn Tool>) -> Result<(), String> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.chars().all(is_plain) {
            return Err(format!(
                "`{}` is no name of a tool: it has 1 to {MAX_NAME_BYTES} letters, digits, `_`, `.` and `-`",
                name.escape_debug().take(80).collect::<String>()
            ));
        }
        let mut calls = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if calls.contains_key(name) {
            return Err(format!("there is a host call `{name}` already"));
        }
        calls.insert(name.to_owned(), Arc::new(Added(tool)));
        Ok(())
    }
}

fn read<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> Result<T, Refusal> {
    serde_json::from_slice(payload)
        .map_err(|error| Refusal::Malformed(format!("the call makes no sense: {error}")))
}

struct GiveContext;

#[derive(Deserialize)]
struct Piece {
    source: usize,
    offset: u64,
    length: usize,
}

#[async_trait]
impl Answers for GiveContext {
    async fn answer(&self, gate: &Gate, call: &HostCall) -> Result<Vec<u8>, Refusal> {
        let piece: Piece = read(&call.payload)?;
        let length = piece.length.min(MAX_PIECE_BYTES);
        let context = gate.context();
        let given = context.read(piece.source, piece.offset, length).await;
        given.map_err(Refusal::Denied)
    }

    fn is_json(&self) -> bool {
        false
    }
}

/// What the REPL begins with: the context, and the tools that callers have added.
struct ListContexts;

#[async_trait]
impl Answers for ListContexts {
    async fn answer(&self, gate: &Gate, _: &HostCall) -> Result<Vec<u8>, Refusal> {
        let sources = gate.context().list();
        let tools = gate.asker().run.calls.added();
        let begun = json!({"sources": sources, "tools": tools});
        Ok(begun.to_string().into_bytes())
    }
}

/// What the context looks like in the REPL, said when it is loaded.
struct TakeShape;

#[async_trait]
impl Answers for TakeShape {
    async fn answer(&self, gate: &Gate, call: &HostCall) -> Result<Vec<u8>, Refusal> {
        let shape: ContextShape = read(&call.payload)?;
        if let Some(node) = gate.node() {
            node.set_shape(shape);
        }
        Ok(b"{}".to_vec())
    }
}

struct TakeAnswer;

#[derive(Deserialize)]
struct Final<'a> {
    text: String,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
}

impl Final<'_> {
    /// Whether it is Python's `None`, which code has where it wanted something else, such as what `print` gives.
    fn is_none(&self) -> bool {
        self.value.is_none() && self.text == "null"
    }

    /// The value, if it is one that can be read.
    fn value(&self) -> Option<Exact> {
        Exact::read(self.value?.get()).ok()
    }
}

#[async_trait]
impl Answers for TakeAnswer {
    async fn answer(&self, gate: &Gate, call: &HostCall) -> Result<Vec<u8>, Refusal> {
        let answer: Final<'_> = read(&call.payload)?;
        let value = answer.value();
        gate.noted(call, 0, |_| async {
            match gate.node() {
                Some(node) if node.schema.is_none() && answer.is_none() => {
                    return Err("None is no answer; if it is meant, give it as text".to_owned());
                }
                Some(node) => node.offer(answer.text, value)?,
                // Without a question it is nobody's answer, and refused for the same reasons.
                None => {
                    let most = gate.asker().run.config.max_answer_bytes;
                    super::node::check_answer(&answer.text, most)?;
                }
            }
            Ok(b"{}".to_vec())
        })
        .await
    }
}

/// The best answer so far, which nobody waits for.
struct KeepAnswer;

#[async_trait]
impl Answers for KeepAnswer {
    async fn answer(&self, gate: &Gate, call: &HostCall) -> Result<Vec<u8>, Refusal> {
        let answer: Final<'_> = read(&call.payload)?;
        if let Some(node) = gate.node() {
            let value = answer.value();
            let kept = node.keep(answer.text, value);
            kept.map_err(Refusal::Denied)?;
        }
        Ok(b"{}".to_vec())
    }
}

struct QueryLlm;

#[async_trait]
impl Answers for QueryLlm {
    async fn answer(&self, gate: &Gate, call: &HostCall) -> Result<Vec<u8>, Refusal> {
        let queries: queries::Flat = read(&call.payload)?;
        let items = queries.prompts.len();
        let answered = |number| queries.answer(gate.asker(), number);
        gate.noted(call, items, answered).await
    }
}

struct RlmQuery;

#[async_trait]
impl Answers for RlmQuery {
    async fn answer(&self, gate: &Gate, call: &HostCall) -> Result<Vec<u8>, Refusal> {
        let queries: queries::Recursive = read(&call.payload)?;
        let items = queries.queries.len();
        let answered = |number| queries.answer(gate.asker(), number);
        gate.noted(call, items, answered).await
    }
}

/// A caller's tool.
struct Added(Arc<dyn Tool>);

#[async_trait]
impl Answers for Added {
    async fn answer(&self, gate: &Gate, call: &HostCall) -> Result<Vec<u8>, Refusal> {
        let asked = ToolCall {
            session: gate.asker().session.id(),
            payload: call.payload.clone(),
            cancel: gate.closed().clone(),
        };
        gate.noted(call, 0, |_| self.0.answer(asked)).await
    }

    fn is_json(&self) -> bool {
        false
    }

    fn is_added(&self) -> bool {
        true
    }
}
