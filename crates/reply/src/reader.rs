//! Reads a reply from its beginning to its end and gathers the commands.
//!
//! What opens first decides how the text up to its end is read: a fence makes a block, `<tool_call>` a
//! tool call, and `FINAL(` an answer, which may hold blocks of its own. The rest is prose.

use crate::correction::excerpt;
use crate::fences::{Block, Fences, Language, line_at, opens};
use crate::tool_call::{self, Meant};
use crate::{Command, Fault, TextAnswer, bare, final_call, json, program};

/// After so many calls of `FINAL` the model only repeats itself, and each may take a look at the whole
/// rest of the reply.
const MAX_CALLS: usize = 16;

/// What was read.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    pub(crate) commands: Vec<Command>,
    /// The first line of prose with a fence that should stand on a line of its own.
    pub(crate) broken_fence: Option<String>,
}

/// Reads a text with fences, or bare code with or without prose around it.
pub(crate) fn read(text: &str) -> Result<Reading, Fault> {
    match bare::split(text) {
        Some((before, source, after)) if is_mere_prose(before) && is_mere_prose(after) => {
            let mut reading = read_marked(before, false)?;
            reading.commands.push(Command::python(source));
            reading.commands.extend(read_marked(after, false)?.commands);
            Ok(reading)
        }
        _ => read_marked(text, false),
    }
}

fn read_marked(text: &str, is_in_open_block: bool) -> Result<Reading, Fault> {
    let mut reader = Reader {
        text,
        fences: Fences::new(text),
        at: 0,
        line_end: None,
        calls: 0,
        has_prose: false,
        is_in_open_block,
        reading: Reading::default(),
    };
    while reader.at < text.len() {
        reader.step()?;
    }
    if !reader.has_prose
        && let Some(Command::Final(answer)) = reader.reading.commands.last_mut()
    {
        answer.is_between_prose = false;
    }
    Ok(reader.reading)
}

/// Whether a text has no place from which a block or tool call is read.
fn is_mere_prose(text: &str) -> bool {
    text.lines()
        .all(|line| !opens(line) && tool_call::opening_in(line).is_none())
}

pub(crate) struct Reader<'a> {
    pub(crate) text: &'a str,
    pub(crate) fences: Fences<'a>,
    /// Where reading goes on; not always at a line's beginning.
    pub(crate) at: usize,
    /// The end of the line that was looked up last, so that a long line is not searched again and again.
    line_end: Option<usize>,
    /// How many calls of `FINAL` were read.
    calls: usize,
    /// Whether there was a line of prose since the last answer.
    has_prose: bool,
    /// Whether the text is that of a block without a closing fence.
    pub(crate) is_in_open_block: bool,
    reading: Reading,
}

impl<'a> Reader<'a> {
    /// Reads what stands here and moves past it.
    fn step(&mut self) -> Result<(), Fault> {
        let line = self.line();
        if let Some(block) = self.fences.block_at(self.at) {
            self.at = block.end;
            return self.block(&block);
        }
        // What is quoted from somewhere says nothing.
        if line.trim_start().starts_with('>') {
            self.skip_line();
            return Ok(());
        }
        if let Some(call) = final_call::call_at(line).filter(|_| self.calls < MAX_CALLS) {
            self.calls += 1;
            return if call.is_variable {
                self.variable(call)
            } else {
                self.answer(call)
            };
        }
        if let Some(inside) = tool_call::opening_in(line) {
            let (body, end) = tool_call::tagged(self.text, self.at + inside);
            self.at = end;
            let found = tool_call::commands(body, Meant::Surely)?;
            self.reading.commands.extend(found);
            return Ok(());
        }
        self.prose(line);
        Ok(())
    }

    /// The rest of the line.
    pub(crate) fn line(&mut self) -> &'a str {
        let end = match self.line_end {
            Some(end) if self.at <= end => end,
            _ => self.at + line_at(self.text, self.at).0.len(),
        };
        self.line_end = Some(end);
        &self.text[self.at..end]
    }

    pub(crate) fn skip_line(&mut self) {
        let end = self.at + self.line().len();
        self.at = (end + 1).min(self.text.len());
    }

    pub(crate) fn add(&mut self, command: Command) {
        self.reading.commands.push(command);
    }

    /// Adds an answer. Whether prose follows too is known at the end.
    pub(crate) fn add_answer(&mut self, answer: TextAnswer) {
        let is_between_prose = std::mem::take(&mut self.has_prose);
        self.add(Command::Final(TextAnswer {
            is_between_prose,
            ..answer
        }));
    }

    /// Passes a line of prose over.
    pub(crate) fn prose(&mut self, line: &str) {
        self.has_prose |= !line.trim().is_empty();
        if line.matches("```").count() % 2 == 1 || line.trim_start().starts_with("```") {
            self.reading
                .broken_fence
                .get_or_insert_with(|| excerpt(line));
        }
        self.skip_line();
    }

    fn block(&mut self, block: &Block<'_>) -> Result<(), Fault> {
        let found = match block.language {
            Language::Python => code(program::python(block.body, block.indent)),
            Language::Shell => {
                let script = program::shell(block.body, block.indent);
                script.map(Command::bash).into_iter().collect()
            }
            Language::ToolCall => tool_call::commands(block.body, Meant::Surely)?,
            Language::Json => tool_call::commands(block.body, Meant::Perhaps)?,
            Language::Unlabelled => unlabelled(block)?,
            Language::Other => Vec::new(),
        };
        self.reading.commands.extend(found);
        Ok(())
    }
}

fn code(program: Option<String>) -> Vec<Command> {
    program.map(Command::python).into_iter().collect()
}

/// A block without a label is what it looks like: a tool call, Python, or else prose. If it holds fences
/// itself, it quotes somebody's reply.
fn unlabelled(block: &Block<'_>) -> Result<Vec<Command>, Fault> {
    if json::begins(block.body) {
        let found = tool_call::commands(block.body, Meant::Perhaps)?;
        if !found.is_empty() {
            return Ok(found);
        }
    }
    let program =
        program::python(block.body, block.indent).filter(|program| bare::is_code(program));
    if program.is_some() || !is_mere_prose(block.body) {
        return Ok(code(program));
    }
    Ok(read_marked(block.body, !block.is_closed)?.commands)
}
