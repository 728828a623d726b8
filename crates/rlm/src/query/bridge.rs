//! Calls of code in a VM: each is held against the session's token, and written down.

use super::{Asker, Node};
use crate::context::Context;
use async_trait::async_trait;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;
use tokio_util::sync::CancellationToken;
use ukernel_sandbox::environment::{CallResult, HostCall, HostCalls, SessionToken};
use ukernel_trajectory::Event;

/// Calls of one run, its children included.
const MAX_CALLS: u32 = 100_000;

/// Whether two tokens are the same, in a time that does not depend on where they differ.
pub(crate) fn is_same(one: &SessionToken, other: &SessionToken) -> bool {
    // The comparison of hashes takes constant time.
    blake3::Hash::from_bytes(*one) == blake3::Hash::from_bytes(*other)
}

/// The calls of one execution. When this is dropped they are refused, and those that came over HTTP end.
pub(crate) struct Bridge {
    gate: Arc<Gate>,
}

/// What an execution holds on to.
pub(crate) struct Gate {
    asker: Asker,
    /// The question that the execution belongs to, if it belongs to one.
    node: Option<Arc<Node>>,
    /// Cancelled when the bridge is dropped, or with its asker.
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
    /// For an execution that the host follows, of a question's code or of a caller's.
    pub(crate) fn open(asker: &Asker, node: Option<&Arc<Node>>) -> Self {
        Self::enter(asker.clone(), node.cloned(), false)
    }

    /// For executions of which the host sees neither beginning nor end.
    pub(crate) fn hold(asker: Asker) -> Self {
        Self::enter(asker, None, true)
    }

    fn enter(asker: Asker, node: Option<Arc<Node>>, is_held: bool) -> Self {
        let gate = Arc::new(Gate {
            closed: asker.cancel.child_token(),
            asker,
            node,
            is_held,
        });
        gate.asker.run.bridges.enter(&gate);
        Self { gate }
    }

    pub(crate) fn calls(&self) -> Arc<dyn HostCalls> {
        Arc::clone(&self.gate) as Arc<dyn HostCalls>
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.gate.closed.cancel();
        self.gate.asker.run.bridges.leave(&self.gate);
    }
}

#[async_trait]
impl HostCalls for Gate {
    fn token(&self) -> SessionToken {
        self.asker.token
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
        !self.closed.is_cancelled() && !self.asker.session.token().is_cancelled()
    }

    /// Comes back when it is no longer open.
    pub(crate) async fn ended(&self) {
        tokio::select! {
            () = self.closed.cancelled() => (),
            () = self.asker.session.token().cancelled() => (),
        }
    }

    pub(crate) async fn answer_or_refuse(&self, call: HostCall) -> Result<Vec<u8>, Refusal> {
        if !is_same(&call.token, &self.asker.token) {
            return Err(Refusal::Foreign);
        }
        if !self.is_open() {
            return Err(Refusal::Ended);
        }
        match self.asker.run.calls.find(&call.name) {
            Some(answers) => answers.answer(self, &call).await,
            None => Err(unknown(&call.name)),
        }
    }

    /// Whether the answers to calls of this name are JSON.
    pub(crate) fn answers_json(&self, name: &str) -> bool {
        let answers = self.asker.run.calls.find(name);
        answers.is_some_and(|answers| answers.is_json())
    }

    /// Who asks.
    pub(super) fn asker(&self) -> &Asker {
        &self.asker
    }

    /// The question that the code belongs to, if it belongs to one.
    pub(super) fn node(&self) -> Option<&Node> {
        self.node.as_deref()
    }

    /// What the question is about; nothing without one.
    pub(super) fn context(&self) -> Cow<'_, Context> {
        match &self.node {
            Some(node) => Cow::Borrowed(&node.context),
            None => Cow::Owned(Context::default()),
        }
    }

    /// Cancelled when nobody waits for answers any more.
    pub(super) fn closed(&self) -> &CancellationToken {
        &self.closed
    }

    /// Names a call within the run, and writes down that it begins and ends.
    pub(super) async fn noted<F: Future<Output = CallResult>>(
        &self,
        call: &HostCall,
        items: usize,
        answer: impl FnOnce(u32) -> F,
    ) -> Result<Vec<u8>, Refusal> {
        let run = &self.asker.run;
        let number = run.next_call();
        if number > MAX_CALLS {
            return Err(Refusal::Denied(format!(
                "there were {MAX_CALLS} host calls in this run, and may be no more"
            )));
        }
        run.trajectory.add(
            self.asker.id,
            Event::CallStarted {
                call: number,
                name: call.name.clone(),
                items: u32::try_from(items).unwrap_or(u32::MAX),
                bytes: call.payload.len() as u64,
            },
        );
        let mut call = OpenCall {
            asker: &self.asker,
            number,
            began: Instant::now(),
            error: Some(CUT_OFF.to_owned()),
        };
        let answer = answer(number).await;
        call.error = answer.as_ref().err().cloned();
        drop(call);
        answer.map_err(Refusal::Denied)
    }
}

/// What is written down of what ended before it was answered.
pub(super) const CUT_OFF: &str = "cut off: the code that asked has ended";

/// A call until it ends, which is written down also if nobody waits for its answer any more.
struct OpenCall<'a> {
    asker: &'a Asker,
    number: u32,
    began: Instant,
    error: Option<String>,
}

impl Drop for OpenCall<'_> {
    fn drop(&mut self) {
        self.asker.run.trajectory.add(
            self.asker.id,
            Event::CallEnded {
                call: self.number,
                error: self.error.take(),
                total_ms: self.began.elapsed().as_secs_f64() * 1e3,
            },
        );
    }
}

fn unknown(name: &str) -> Refusal {
    Refusal::Malformed(format!(
        "there is no host call `{}`",
        name.escape_debug().take(40).collect::<String>()
    ))
}
