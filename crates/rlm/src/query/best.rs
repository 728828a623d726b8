//! The best answer there is when a limit comes near.

use super::asking::{NoReply, error_of, out_of_time, over_budget, step};
use super::commands::execute;
use super::conversation::Conversation;
use super::{Answer, Node, prompt};
use crate::{Result, RlmError};
use std::fmt;
use std::sync::Arc;
use ukernel_budget::{Exceeded, prompt_bound};
use ukernel_llm::{Message, Request};
use ukernel_reply::{Command, Parsed, parse};

/// Tokens of a last reply.
const LAST_REPLY_TOKENS: u32 = 1024;

/// Bytes of a last prompt, where there is room for it.
const LAST_PROMPT_BYTES: u64 = 12_000;

/// Part of a node's tokens that is kept for it at most.
const LAST_PART: u64 = 4;

/// Gives the variable the model was told to keep its best answer in.
const MY_ANSWER: &str = "FINAL() if my_answer is not None else None";

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
            Self::Steps(most) => write!(out, "{most} steps were taken"),
            Self::Errors(count) => write!(out, "{count} steps failed in a row"),
            Self::Output(most) => write!(out, "commands have written {most} bytes"),
        }
    }
}

/// Keeps tokens for a last answer out of reach of everything else.
pub(super) fn keep_for_last(node: &Node) {
    let want = prompt_bound(LAST_PROMPT_BYTES) + u64::from(LAST_REPLY_TOKENS);
    node.ledger
        .hold(want.min(node.ledger.limit().tokens / LAST_PART));
}

/// Asks for an answer now; if that cannot be, takes what the model has kept in `my_answer`.
pub(super) async fn best_answer(
    node: &Arc<Node>,
    talk: &Conversation,
    limit: Limit,
) -> Result<Answer> {
    node.ledger.hold(0);
    // There will be no further step, so an answer counts even on the first.
    node.set_long(false);
    let answer = match last_answer(node, talk, limit).await {
        Ok(Some(answer)) => Some(answer),
        Ok(None) => kept_answer(node).await,
        Err(error @ (RlmError::Cancelled | RlmError::AnswerDoesNotFit { .. })) => {
            return Err(error);
        }
        Err(error) => match kept_answer(node).await {
            Some(answer) => Some(answer),
            None => return Err(error),
        },
    };
    match answer {
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

/// Asks the model for its last word. `None` if there is no room for that, or it says nothing.
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
    request.max_tokens = Some(LAST_REPLY_TOKENS);
    request.temperature = node.run.config.temperature;
    let new = request.messages.clone();
    let reply = match step(node, &request, new).await {
        Ok(reply) => reply,
        Err(NoReply::Exceeded(_)) => return Ok(None),
        Err(no_reply) => return Err(error_of(no_reply)),
    };
    let text = match parse(&reply.text) {
        Parsed::Commands(commands) => match commands.into_iter().next_back() {
            Some(Command::Final(text)) => text,
            Some(Command::FinalVariable(name)) => {
                let code = format!("FINAL_VAR({name:?})");
                // If there is no such variable, there is no answer.
                let _ = execute(node, false, &code).await;
                return Ok(node.take_answer());
            }
            // It wrote code instead, which is not run any more.
            _ => return Ok(None),
        },
        // No command: the reply itself is the answer.
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
    let for_prompt = available.checked_sub(u64::from(LAST_REPLY_TOKENS))?;
    // The inverse of `prompt_bound`, with room for its rounding.
    let bytes = for_prompt
        .checked_sub(prompt_bound(0) + 1)?
        .checked_mul(2)?;
    let bytes = usize::try_from(bytes.min(LAST_PROMPT_BYTES)).ok()?;
    // The last word repeats the question, which may be long: then there is no room.
    (word.len() <= bytes).then(|| talk.last_words(bytes - (bytes - word.len()) / 10, word))
}

/// What the model has kept as its best answer, if it has.
async fn kept_answer(node: &Arc<Node>) -> Option<Answer> {
    // If the code cannot run, there is no answer.
    let _ = execute(node, false, MY_ANSWER).await;
    node.take_answer()
}
