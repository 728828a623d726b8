//! The best answer there is when a limit comes near.

use super::asking::{NoReply, error_of, out_of_time, over_budget, step};
use super::commands::{execute, is_variable};
use super::conversation::Conversation;
use super::{Answer, Node, prompt};
use crate::{Result, RlmError};
use std::fmt;
use std::sync::Arc;
use ukernel_budget::{Exceeded, prompt_bound};
use ukernel_llm::{FinishReason, Message, Request};
use ukernel_reply::{Command, Parsed, parse};

/// Tokens of a last reply.
const LAST_REPLY_TOKENS: u32 = 1024;

/// Bytes of a last prompt, where there is room for it.
const LAST_PROMPT_BYTES: u64 = 12_000;

/// Part of a node's tokens that is kept for it at most.
const LAST_PART: u64 = 4;

/// Why there are no more steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    Budget(Exceeded),
    Time,
    Steps(u32),
    Errors(u32),
    Output(u64),
}

impl fmt::Display for Limit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Budget(exceeded) => exceeded.fmt(out),
            Self::Time => out.write_str("the time is nearly over"),
            Self::Steps(1) => out.write_str("1 step was taken, and the last is for the answer"),
            Self::Steps(taken) => write!(
                out,
                "{taken} steps were taken, and the last is for the answer"
            ),
            Self::Errors(count) => write!(out, "{count} steps failed in a row"),
            Self::Output(most) => write!(out, "commands have written {most} bytes"),
        }
    }
}

/// Keeps tokens for a last answer out of reach of everything else.
pub(super) fn keep_for_last(node: &Node) {
    let want = prompt_bound(LAST_PROMPT_BYTES) + u64::from(reply_tokens(node));
    node.ledger
        .hold(want.min(node.ledger.limit().tokens / LAST_PART));
}

/// Tokens of a last reply: no more than any other may have.
fn reply_tokens(node: &Node) -> u32 {
    LAST_REPLY_TOKENS.min(node.run.config.max_reply_tokens)
}

/// Asks for an answer now.
pub(super) async fn best_answer(
    node: &Arc<Node>,
    talk: &Conversation,
    limit: Limit,
) -> Result<Answer> {
    node.ledger.hold(0);
    // There will be no further step, so an answer counts even on the first.
    node.set_long(false);
    match last_answer(node, talk, limit).await? {
        Some(answer) => Ok(Answer {
            partial: Some(limit.to_string()),
            ..answer
        }),
        None => Err(no_answer(node, limit)),
    }
}

fn no_answer(node: &Node, limit: Limit) -> RlmError {
    match limit {
        Limit::Budget(exceeded) => over_budget(node, exceeded),
        Limit::Time => out_of_time(node),
        Limit::Steps(_) | Limit::Errors(_) | Limit::Output(_) => RlmError::NoAnswer {
            reason: limit.to_string(),
        },
    }
}

/// Asks the model for its last word. `None` if there is no room for that, or it says nothing better than
/// what it has kept in `my_answer`.
async fn last_answer(
    node: &Arc<Node>,
    talk: &Conversation,
    limit: Limit,
) -> Result<Option<Answer>> {
    let schema = node
        .schema
        .as_ref()
        .map(|schema| schema.document().to_string());
    let word = prompt::last_word(&limit.to_string(), &node.question, schema.as_deref());
    let Some(messages) = fitting(node, talk, &word) else {
        return Ok(None);
    };
    let mut request = Request::new(node.run.model.clone(), messages);
    request.max_tokens = Some(reply_tokens(node));
    request.temperature = node.run.config.temperature;
    let new = request.messages.clone();
    let reply = match step(node, &request, new).await {
        Ok(reply) => reply,
        Err(NoReply::Exceeded(_)) => return Ok(None),
        Err(no_reply) => return Err(error_of(no_reply)),
    };
    if reply.finish == FinishReason::Length {
        // Nobody knows what the rest would have said.
        return Ok(None);
    }
    let text = match parse(&reply.text) {
        Parsed::Commands(commands) => match commands.into_iter().next_back() {
            // It cannot be asked any more whether it meant the variable's value.
            Some(Command::Final(answer)) if is_variable(node, &answer.text).await => {
                return Ok(value_of(node, &answer.text).await);
            }
            Some(Command::Final(answer)) => answer.text,
            Some(Command::FinalVariable(name)) => return Ok(value_of(node, &name).await),
            // It wrote code instead, which is not run any more.
            _ => return Ok(None),
        },
        // No command: the reply itself is the answer, unless the model has kept a better one.
        Parsed::Correction(_) if node.kept_answer(String::new()).is_some() => return Ok(None),
        Parsed::Correction(_) => reply.text.trim().to_owned(),
    };
    if text.is_empty() {
        return Ok(None);
    }
    match node.offer(text, None) {
        Ok(()) => Ok(node.take_answer()),
        Err(reason) if node.schema.is_some() => Err(RlmError::AnswerDoesNotFit { reason }),
        Err(_) => Ok(None),
    }
}

/// As much of the conversation as there are tokens for.
fn fitting(node: &Node, talk: &Conversation, word: &str) -> Option<Vec<Message>> {
    let available = node.ledger.available().tokens;
    let for_prompt = available.checked_sub(u64::from(reply_tokens(node)))?;
    // The inverse of `prompt_bound`, with room for its rounding.
    let bytes = for_prompt
        .checked_sub(prompt_bound(0) + 1)?
        .checked_mul(2)?;
    let bytes = usize::try_from(bytes.min(LAST_PROMPT_BYTES)).ok()?;
    // The last word repeats the question, which may be long: then there is no room.
    (word.len() <= bytes).then(|| talk.last_words(bytes - (bytes - word.len()) / 10, word))
}

/// The value of a variable as the answer; none if there is no such variable.
async fn value_of(node: &Arc<Node>, variable: &str) -> Option<Answer> {
    let _ = execute(node, false, &format!("FINAL_VAR({variable:?})")).await;
    node.take_answer()
}
