//! The loop of one node.

use super::asking::{NoReply, error_of, out_of_time, step};
use super::best::{Limit, best_answer};
use super::commands::{Followed, execute, follow};
use super::conversation::Conversation;
use super::queries::cut_by;
use super::{Answer, Node, prompt};
use crate::error::Problem;
use crate::{Result, RlmError};
use std::sync::Arc;
use std::time::Instant;
use ukernel_budget::Spent;
use ukernel_llm::{FailureKind, Reply, Request};
use ukernel_reply::{Parsed, parse};
use ukernel_sandbox::{Environment, SandboxError};
use ukernel_trajectory::{ContextShape, Event, NodeStarted, Outcome};

/// Loads the context and describes it.
pub(crate) const BEGIN: &str = "import rlm; rlm.begin()";

/// Contexts larger than this are kept once: writing them before each command would take seconds.
const LARGE_CONTEXT_BYTES: u64 = 64 << 20;

/// Answers a node's question, and writes down that it began and how it ended.
pub(crate) async fn answer(
    node: &Arc<Node>,
    asked_by: Option<(u32, (u32, u32))>,
) -> Result<Answer> {
    let mut ending = Ending::new(node);
    let deadline = tokio::time::Instant::from_std(node.run.deadline());
    let answered = tokio::select! {
        biased;
        () = node.cancel.cancelled() => Err(RlmError::Cancelled),
        () = tokio::time::sleep_until(deadline) => Err(out_of_time(node)),
        answered = go(node, asked_by) => answered,
    };
    let answered = answered.or_else(|error| best_of(node, error));
    // Code that still runs in its VM is cancelled.
    node.cancel.cancel();
    ending.outcome = outcome_of(&answered);
    answered
}

/// What the model has kept in `my_answer`, where there is no better answer.
fn best_of(node: &Node, error: RlmError) -> Result<Answer> {
    let is_over = matches!(
        error,
        RlmError::TimeBudgetExceeded { .. }
            | RlmError::TokenBudgetExceeded { .. }
            | RlmError::MoneyBudgetExceeded { .. }
            | RlmError::SubCallBudgetExceeded { .. }
            | RlmError::LlmProviderError { .. }
            | RlmError::VmCommunicationError { .. }
            | RlmError::AnswerDoesNotFit { .. }
            | RlmError::NoAnswer { .. }
    );
    if !is_over {
        return Err(error);
    }
    node.kept_answer(error.to_string()).ok_or(error)
}

/// Writes down that a node has ended, also if nobody waited for it.
struct Ending {
    node: Arc<Node>,
    outcome: Outcome,
}

impl Ending {
    fn new(node: &Arc<Node>) -> Self {
        node.run.node_began();
        Self {
            node: Arc::clone(node),
            outcome: outcome_of(&Err(RlmError::Cancelled)),
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let node = &self.node;
        if node.has_started() {
            let ended = Event::NodeEnded {
                outcome: self.outcome.clone(),
                spent: spent(node),
            };
            node.run.trajectory.add(node.id, ended);
        }
        node.run.node_ended();
    }
}

/// What a node and its children used until now.
pub(crate) fn spent(node: &Node) -> Spent {
    Spent {
        elapsed_ms: node.run.elapsed().as_secs_f64() * 1e3,
        ..node.ledger.spent()
    }
}

/// How it ended, for the trajectory.
pub(crate) fn outcome_of(answered: &Result<Answer>) -> Outcome {
    match answered {
        Ok(answer) => Outcome::Answered {
            answer_bytes: answer.text.len() as u64,
            answer: Some(answer.text.clone()),
            partial: answer.partial.clone(),
        },
        Err(error) => Outcome::Failed {
            error: error.to_string(),
        },
    }
}

async fn go(node: &Arc<Node>, asked_by: Option<(u32, (u32, u32))>) -> Result<Answer> {
    let context = begin(node, asked_by).await?;
    let config = &node.run.config;
    let can_recurse = node.depth < config.max_recursion_depth;
    let schema = node
        .schema
        .as_ref()
        .map(|schema| schema.document().to_string());
    let rules = prompt::system(config.guest, &context, can_recurse, schema.as_deref());
    let mut talk = Conversation::begin(rules, &node.question);
    super::best::keep_for_last(node);
    let mut errors = 0;
    for step in 1..config.max_iterations {
        node.begin_step(step);
        node.run.trajectory.check()?;
        if let Some(limit) = near(node, errors) {
            return best_answer(node, &talk, limit).await;
        }
        compact(node, &mut talk);
        let reply = match ask(node, &mut talk).await {
            Ok(reply) => reply,
            Err(NoReply::Exceeded(exceeded)) => {
                return best_answer(node, &talk, Limit::Budget(exceeded)).await;
            }
            Err(no_reply) => {
                let Some(advice) = advice(no_reply.kind()) else {
                    return Err(error_of(no_reply));
                };
                errors += 1;
                correct(node, &mut talk, advice.to_owned());
                continue;
            }
        };
        talk.replied(&reply.text);
        if let Some(why) = cut_by(reply.finish) {
            errors += 1;
            correct(node, &mut talk, was_cut(why));
            continue;
        }
        match parse(&reply.text) {
            Parsed::Correction(reason) => {
                errors += 1;
                correct(node, &mut talk, reason);
            }
            Parsed::Commands(commands) => match follow(node, commands).await? {
                Followed::Answer(answer) => return Ok(answer),
                Followed::Told { text, failed } => {
                    errors = if failed { errors + 1 } else { 0 };
                    talk.tell(&text);
                }
            },
        }
    }
    node.begin_step(config.max_iterations);
    let limit = match near(node, errors) {
        Some(limit) => limit,
        None => Limit::Steps(config.max_iterations - 1),
    };
    best_answer(node, &talk, limit).await
}

/// Has the VM load the context, and writes down that the node has begun.
async fn begin(node: &Arc<Node>, asked_by: Option<(u32, (u32, u32))>) -> Result<ContextShape> {
    let began = Instant::now();
    let loaded = load(node).await;
    node.run.trajectory.add(
        node.id,
        Event::NodeStarted(NodeStarted {
            parent: asked_by.map(|(parent, _)| parent),
            call: asked_by.map(|(_, call)| call),
            depth: node.depth,
            session: node.session.id().to_string(),
            question_bytes: node.question.len() as u64,
            question: Some(node.question.clone()),
            context: loaded.as_ref().cloned().unwrap_or_default(),
            load_ms: began.elapsed().as_secs_f64() * 1e3,
            max_tokens: node.ledger.limit().tokens,
        }),
    );
    node.set_started();
    loaded
}

/// Has the VM load the context. From then on its state is kept.
async fn load(node: &Arc<Node>) -> Result<ContextShape> {
    let loaded = execute(node, false, BEGIN).await;
    let loaded = loaded.map_err(|error| RlmError::of_sandbox(error, node.session.id()))?;
    if !loaded.is_success() {
        let last = loaded.output.stderr.lines().last().unwrap_or_default();
        let problem = Problem::from(format!("the context cannot be loaded: {last}"));
        return Err(RlmError::context(
            problem.hinting("name less, or raise memory_mib"),
        ));
    }
    let context = node
        .take_shape()
        .ok_or_else(|| RlmError::context("the VM did not say what its context looks like"))?;
    let length: u64 = context.parts.iter().map(|part| part.length).sum();
    node.set_long(length >= node.run.config.long_context_chars);
    let is_large = node.context.bytes() > LARGE_CONTEXT_BYTES;
    if is_large || !node.run.config.sandbox.checkpoint_enabled {
        // Without a checkpoint there is nothing to go back to when a command is ended.
        let kept = keep_once(node.session.as_ref()).await;
        kept.map_err(|error| RlmError::of_sandbox(error, node.session.id()))?;
    }
    Ok(context)
}

/// Keeps the state of now, and none of those to come.
async fn keep_once(session: &dyn Environment) -> Result<(), SandboxError> {
    session.checkpoint().await?;
    session.keep_checkpoints(false).await
}

/// Why there should be no more steps, if so.
fn near(node: &Node, errors: u32) -> Option<Limit> {
    let config = &node.run.config;
    if Instant::now() >= node.run.last_call() {
        return Some(Limit::Time);
    }
    if errors >= config.max_consecutive_errors {
        return Some(Limit::Errors(errors));
    }
    if !node.run.has_output_left() {
        return Some(Limit::Output(config.max_total_output_bytes));
    }
    None
}

fn compact(node: &Node, talk: &mut Conversation) {
    let most = node.run.config.compaction_tokens;
    let before = talk.tokens();
    if before <= most {
        return;
    }
    // Down to half, so that the next step does not have to do it again.
    talk.compact(most / 2);
    node.run.trajectory.add(
        node.id,
        Event::Compacted {
            step: node.step(),
            tokens_before: before,
            tokens_after: talk.tokens(),
        },
    );
}

/// Asks the model for a step.
async fn ask(node: &Arc<Node>, talk: &mut Conversation) -> Result<Reply, NoReply> {
    let config = &node.run.config;
    let mut request = Request::new(node.run.model.clone(), talk.messages().to_vec());
    request.max_tokens = Some(config.max_reply_tokens);
    request.temperature = config.temperature;
    step(node, &request, talk.take_new()).await
}

fn correct(node: &Node, talk: &mut Conversation, reason: String) {
    talk.tell(&reason);
    node.run.trajectory.add(
        node.id,
        Event::Corrected {
            step: node.step(),
            reason,
        },
    );
}

/// What a model is told whose reply is not whole: nobody knows what the rest would have said.
fn was_cut(why: &str) -> String {
    format!(
        "Your reply was {why}, so nothing of it was run or taken. Write less: one short ```python block, or \
         FINAL(the answer)."
    )
}

/// What a model is told whose reply could not be used; `None` if asking again is of no use.
fn advice(kind: Option<FailureKind>) -> Option<&'static str> {
    match kind? {
        FailureKind::Empty => Some(
            "Your reply had no text. There are no tools to be called here but what you write: one ```python \
                 block, or FINAL(the answer).",
        ),
        FailureKind::TooLong => Some(
            "Your reply was too long to be read. Write one short ```python block, or FINAL(the \
             answer).",
        ),
        _ => None,
    }
}
