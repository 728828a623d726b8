//! From a language model's reply to commands.
//!
//! A model answers with prose, code and, at last, an answer; how these are
//! written differs from model to model. [`parse`] reads all the usual forms. It
//! never fails: what cannot be carried out becomes a correction, a message to the
//! model that says what was unclear and what to write instead.
//!
//! # Forms
//!
//! | In the reply | Becomes |
//! | --- | --- |
//! | block labelled `python`, `py`, `repl`, ... | [`Command::Code`] |
//! | block labelled `bash`, `sh`, `shell`, `console` | [`Command::Run`] |
//! | block without a label that looks like Python | [`Command::Code`] |
//! | Python without a fence, alone or after prose | [`Command::Code`] |
//! | `FINAL(text)` at the beginning of a line of prose | [`Command::Final`] |
//! | `FINAL_VAR(name)`, likewise | [`Command::FinalVariable`] |
//! | `{"content": "...", "ready": true}`, also after `answer =` | [`Command::Final`] |
//! | JSON tool call: whole reply, `json` block, `<tool_call>` | any command |
//! | block with another label, `> ` quotation, `<think>` | nothing |
//!
//! # Rules
//!
//! - Line ends may be CRLF. Reasoning (`<think>`) is cut off first, and so are a
//!   chat template's stop tokens at the end.
//! - A block in a Markdown list loses its indent; doctest prompts and, in shell
//!   sessions, `$ ` prompts are taken off and the output between them is dropped.
//! - A fence inside a triple-quoted Python string belongs to the program. A block
//!   without a closing fence runs to the reply's end.
//! - Inside code nothing is looked for: the REPL has `FINAL` functions itself.
//! - `FINAL` counts past bullets, headings, emphasis and a label such as
//!   `Final answer:`. Inside a sentence it is only mentioned. The text between the
//!   parentheses may be quoted and may run over several lines and blocks.
//! - The commands stand in the reply's order. An answer before code, two answers
//!   that differ, an empty answer and a placeholder are corrected.
//!
//! # Limits
//!
//! The time grows with the length of the reply alone, and nothing recurses deeper
//! for a longer one. Nothing is run here, and nothing is known of the REPL: a
//! variable that does not exist is for the caller to report.
#![forbid(unsafe_code)]

mod answer_dict;
mod answers;
mod argument;
mod bare;
mod block;
mod correction;
mod fence;
mod fences;
mod json;
mod language;
mod literal;
mod order;
mod placeholder;
mod python_strings;
mod reader;
mod reasoning;
mod statement;
mod tagged;
mod tokens;
mod tool;
mod tool_call;
mod variable;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod replies;

use std::borrow::Cow;

use correction::{Correction, HOW_TO, nothing_found};
use order::settled;
use reader::Reading;

/// The tokens that some servers leave at a reply's end.
const STOP_TOKENS: [&str; 6] = [
    "<|im_end|>",
    "<|eot_id|>",
    "<|endoftext|>",
    "<|end|>",
    "<end_of_turn>",
    "</s>",
];

/// One thing that the model wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Run commands in bash.
    Run(BashCommand),
    /// Run Python in the REPL.
    Code(PythonCode),
    /// Finish with the answer given as text in the reply.
    Final(String),
    /// Finish with the value of this REPL variable.
    FinalVariable(String),
    /// Ask a language model; from tool calls only.
    QueryLlm(LlmQuery),
    /// Take a snapshot of this name; from tool calls only.
    Snapshot(String),
    /// Go back to the snapshot of this name or id; from tool calls only.
    Rollback(String),
}

/// Commands for bash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BashCommand {
    /// The script as it is given to bash.
    pub source: String,
}

/// A program for the Python REPL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PythonCode {
    /// The program as it is given to the REPL.
    pub source: String,
}

/// A question to a language model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LlmQuery {
    /// The prompt.
    pub prompt: String,
}

/// What a reply comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// At least one command, in the reply's order.
    Commands(Vec<Command>),
    /// What to tell the model, in at most 600 characters.
    Correction(String),
}

impl Command {
    /// Whether the command ends the run with an answer.
    fn is_answer(&self) -> bool {
        matches!(self, Self::Final(_) | Self::FinalVariable(_))
    }
}

/// Reads the commands in a model's reply; see the [module](self) for the forms.
#[must_use]
pub fn parse(reply: &str) -> Parsed {
    let reply = with_plain_line_ends(without_stop_tokens(reply.trim_start_matches('\u{feff}')));
    match commands(&reply) {
        Ok(commands) => Parsed::Commands(commands),
        Err(correction) => Parsed::Correction(correction.into_message()),
    }
}

/// The reply without the tokens that should have ended it unseen.
fn without_stop_tokens(reply: &str) -> &str {
    let mut kept = reply;
    while let Some(shorter) = STOP_TOKENS
        .iter()
        .find_map(|token| kept.trim_end().strip_suffix(token))
    {
        kept = shorter;
    }
    kept
}

fn with_plain_line_ends(reply: &str) -> Cow<'_, str> {
    if reply.contains('\r') {
        Cow::Owned(reply.replace("\r\n", "\n").replace('\r', "\n"))
    } else {
        Cow::Borrowed(reply)
    }
}

fn commands(reply: &str) -> Result<Vec<Command>, Correction> {
    let text = reasoning::after_reasoning(reply)?;
    if text.trim().is_empty() && text.len() < reply.len() {
        return Err(only_reasoning());
    }
    if let Some(outcome) = answer_dict::whole_reply(text) {
        return outcome.map(|answer| vec![answer]);
    }
    if let Some(outcome) = tool_call::whole_reply(text) {
        return outcome.and_then(settled);
    }
    let reading = read(text)?;
    if reading.commands.is_empty() {
        return Err(why_nothing(&reading, text));
    }
    if let Some(fence) = &reading.broken_fence
        && reading.commands.iter().all(Command::is_answer)
    {
        return Err(broken_fence(fence));
    }
    settled(reading.commands)
}

/// Reads a text with fences, or bare code with or without prose around it.
fn read(text: &str) -> Result<Reading, Correction> {
    let Some((before, source, after)) = split_bare(text) else {
        return reader::read(text);
    };
    let mut reading = reader::read(before)?;
    reading.commands.push(Command::Code(PythonCode { source }));
    reading.commands.extend(reader::read(after)?.commands);
    Ok(reading)
}

/// The prose before bare code, the code, and the answer after it.
fn split_bare(text: &str) -> Option<(&str, String, &str)> {
    if let Some(program) = block::unprompted(text).filter(|program| bare::is_code(program)) {
        return Some(("", program, ""));
    }
    let span = bare::code_span(text)?;
    let (before, after) = (&text[..span.start], &text[span.end..]);
    if !reader::is_mere_prose(before) || !reader::is_mere_prose(after) {
        return None;
    }
    // Any indent but none makes the common one go.
    let source = block::python(text[span].trim_end(), 1)?;
    Some((before, source, after))
}

/// Says why a reply without commands has none, as precisely as is known.
fn why_nothing(reading: &Reading, text: &str) -> Correction {
    if let Some(fence) = &reading.broken_fence {
        return broken_fence(fence);
    }
    let reason = if let Some(mention) = &reading.mention {
        format!("FINAL stands inside a sentence or among other text (\"{mention}\")")
    } else if reading.empty_block {
        "the code block is empty".to_owned()
    } else if let Some(label) = &reading.other_language {
        format!("a block labelled \"{label}\" is not run (JSON only if it is a tool call)")
    } else {
        return nothing_found(text);
    };
    Correction::new(format!(
        "No command was found in your reply: {reason}. {HOW_TO}"
    ))
}

fn only_reasoning() -> Correction {
    Correction::new(format!(
        "Your reply holds only reasoning: nothing follows </think>, and what stands before it is \
         not carried out. {HOW_TO}"
    ))
}

fn broken_fence(line: &str) -> Correction {
    Correction::new(format!(
        "A code fence in your reply does not stand on a line of its own: \"{line}\". Write \
         ```python alone on a line, then the code, then ``` alone on a line."
    ))
}
