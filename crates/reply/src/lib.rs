//! What a model's reply means: from its text to [`Command`]s, or to a correction for the model.
//!
//! This crate owns the forms in which models write commands. [`parse`] never fails: a reply without a clear
//! command becomes one message that says what was unclear and how commands are written.
//!
//! | In the reply | Becomes |
//! | --- | --- |
//! | block labelled `python`, `py`, `repl`, ... | [`Command::Code`] |
//! | block labelled `bash`, `sh`, `shell`, `console` | [`Command::Run`] |
//! | block without a label that is Python; Python without a fence, alone or after prose | [`Command::Code`] |
//! | `FINAL(text)` at the beginning of a line of prose | [`Command::Final`] |
//! | `FINAL_VAR(name)`, likewise | [`Command::FinalVariable`] |
//! | `{"content": "...", "ready": true}`, also after `answer =` | [`Command::Final`] |
//! | JSON tool call: whole reply, `json` block, `<tool_call>` | any command |
//! | block with another label, `> ` quotation, `<think>` | nothing |
//!
//! - Reasoning (`<think>`) is cut off first, and so are a chat template's stop tokens at the end.
//! - A block in a Markdown list loses its indent. Prompts (`>>> `, `$ `) are taken off, and the output
//!   between them is dropped.
//! - A fence inside a triple-quoted Python string belongs to the program. A block without a closing fence
//!   ends where the reply does.
//! - Inside code nothing is looked for: the REPL has functions of the same names.
//! - `FINAL` counts past bullets, headings, emphasis and a label such as `Final answer:`. Inside a
//!   sentence it is only mentioned.
//! - An answer between lines of prose may be quoted: [`TextAnswer`] says so, and whoever runs the reply asks.
//! - Commands keep the reply's order. An answer before code, two answers that differ, an empty answer and
//!   a placeholder are corrected.
//!
//! `corpus/` holds replies and what each is to mean; a habit of models that no entry shows is not handled.
//!
//! What this crate refuses to do: run anything, know what is in the REPL, or guess. Time and memory grow
//! with the length of the reply alone, and nothing recurses deeper for a longer one.
#![forbid(unsafe_code)]

mod argument;
mod bare;
mod correction;
mod fences;
mod final_call;
mod json;
mod program;
mod python;
mod reader;
mod reasoning;
mod statement;
mod tool_call;

use correction::{correction, excerpt};
pub use final_call::is_identifier;
use std::borrow::Cow;

/// Tokens that some servers leave at a reply's end.
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
    Final(TextAnswer),
    /// Finish with the value of this REPL variable.
    FinalVariable(String),
    /// Ask a language model; from tool calls only.
    QueryLlm(LlmQuery),
    /// Take a snapshot of this name; from tool calls only.
    Snapshot(String),
    /// Go back to the snapshot of this name or id; from tool calls only.
    Rollback(String),
}

/// An answer given as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextAnswer {
    /// The answer itself.
    pub text: String,
    /// The call of `FINAL` as the reply has it; none for tool calls and dictionaries.
    pub call: Option<String>,
    /// Whether it stands between lines of prose, where it may only be quoted.
    pub is_between_prose: bool,
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
    fn python(source: String) -> Self {
        Self::Code(PythonCode { source })
    }

    fn bash(source: String) -> Self {
        Self::Run(BashCommand { source })
    }

    /// An answer that is no call of `FINAL`.
    fn answer(text: String) -> Self {
        Self::Final(TextAnswer {
            text,
            call: None,
            is_between_prose: false,
        })
    }

    /// Whether two answers say the same, wherever they stand.
    fn is_same_answer(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Final(one), Self::Final(other)) => one.text == other.text,
            (one, other) => one == other,
        }
    }

    /// Whether the command ends the run with an answer.
    fn is_answer(&self) -> bool {
        matches!(self, Self::Final(_) | Self::FinalVariable(_))
    }
}

/// What is wrong with a reply, in a sentence or two for the model.
type Fault = String;

/// Reads the commands in a model's reply.
#[must_use]
pub fn parse(reply: &str) -> Parsed {
    let reply = plain(reply);
    match reasoning::after(&reply).and_then(commands) {
        Ok(commands) => Parsed::Commands(commands),
        Err(fault) => Parsed::Correction(correction(&fault)),
    }
}

/// The reply without what is not the model's: a byte-order mark, stop tokens, carriage returns.
fn plain(reply: &str) -> Cow<'_, str> {
    let mut kept = reply.trim_start_matches('\u{feff}');
    let without_token = |text: &str| {
        let text = text.trim_end();
        let token = STOP_TOKENS.iter().find(|token| text.ends_with(**token))?;
        Some(text.len() - token.len())
    };
    while let Some(length) = without_token(kept) {
        kept = &kept[..length];
    }
    if kept.contains('\r') {
        Cow::Owned(kept.replace("\r\n", "\n").replace('\r', "\n"))
    } else {
        Cow::Borrowed(kept)
    }
}

fn commands(text: &str) -> Result<Vec<Command>, Fault> {
    if let Some(found) = tool_call::whole_reply(text) {
        return found.and_then(settled);
    }
    let reading = reader::read(text)?;
    if let Some(line) = reading.broken_fence
        && reading.commands.iter().all(Command::is_answer)
    {
        return Err(format!(
            "A code fence in your reply does not stand on a line of its own: \"{line}\"."
        ));
    }
    if reading.commands.is_empty() {
        return Err(match excerpt(text).as_str() {
            "" => "Your reply was empty: no command was found.".to_owned(),
            begins => format!(
                "No command was found in your reply, which begins \"{begins}\". An empty code block is \
                 none, a block with another label is not run, FINAL inside a sentence does not count."
            ),
        });
    }
    settled(reading.commands)
}

/// The commands without repeated answers, if they say clearly what to do.
fn settled(mut commands: Vec<Command>) -> Result<Vec<Command>, Fault> {
    let Some(first) = commands.iter().position(Command::is_answer) else {
        return Ok(commands);
    };
    let shown = |answer: &Command| match answer {
        Command::FinalVariable(name) => format!("FINAL_VAR({})", excerpt(name)),
        Command::Final(answer) => format!("FINAL({})", excerpt(&answer.text)),
        _ => String::new(),
    };
    let answer = &commands[first];
    if let Some(other) = commands
        .iter()
        .find(|c| c.is_answer() && !c.is_same_answer(answer))
    {
        return Err(format!(
            "Your reply gives two different answers: {} and {}. Write only the one you mean.",
            shown(answer),
            shown(other)
        ));
    }
    if commands[first..].iter().any(|c| !c.is_answer()) {
        return Err(format!(
            "Your reply gives the answer {} and then code, so it is not clear whether you are done. \
             If you are, write only the answer; if not, only the code.",
            shown(answer)
        ));
    }
    commands.truncate(first + 1);
    Ok(commands)
}
