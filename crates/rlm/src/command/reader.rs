//! Reads a reply from its beginning to its end and gathers the commands.
//!
//! What opens first decides how the text up to its end is read: a fence makes a
//! block, `<tool_call>` a tool call, and `FINAL(` an answer, which may hold
//! blocks of its own. The rest is prose and says nothing.

mod final_call;

use super::answers;
use super::bare;
use super::block;
use super::correction::{Correction, excerpt};
use super::fence::{line_at, next_line, opening};
use super::fences::{Block, Fences};
use super::language::Language;
use super::tagged::{self, tagged};
use super::tool_call::{self, Meant};
use super::{BashCommand, Command, PythonCode, json};

/// After so many calls of `FINAL` the model only repeats itself, and each may
/// take a look at the whole rest of the reply.
const MAX_CALLS: usize = 16;

/// What was read: the commands, and why there may be none.
#[derive(Clone, Debug, Default)]
pub(super) struct Reading {
    pub(super) commands: Vec<Command>,
    /// A call of `FINAL` or `FINAL_VAR` inside a sentence.
    pub(super) mention: Option<String>,
    /// A fence that does not stand on a line of its own.
    pub(super) broken_fence: Option<String>,
    /// The label of a block in a language that is not run.
    pub(super) other_language: Option<String>,
    /// Whether there is a block of code with nothing in it.
    pub(super) empty_block: bool,
}

/// Reads a text that is not bare code.
pub(super) fn read(text: &str) -> Result<Reading, Correction> {
    let mut reader = Reader {
        text,
        fences: Fences::new(text),
        at: 0,
        line_end: 0,
        calls: 0,
        reading: Reading::default(),
    };
    while reader.at < text.len() {
        reader.step()?;
    }
    Ok(reader.reading)
}

/// Whether a text has no place from which a block or tool call is read.
pub(super) fn is_mere_prose(text: &str) -> bool {
    text.lines()
        .all(|line| opening(line).is_none() && tagged::opening_in(line).is_none())
}

struct Reader<'a> {
    text: &'a str,
    fences: Fences<'a>,
    /// Where reading goes on; not always at a line's beginning.
    at: usize,
    /// The end of the line that was looked up last.
    line_end: usize,
    /// How many calls of `FINAL` were read.
    calls: usize,
    reading: Reading,
}

impl<'a> Reader<'a> {
    /// Reads what stands here and moves past it.
    fn step(&mut self) -> Result<(), Correction> {
        let line = self.line();
        if opening(line).is_some()
            && let Some(block) = self.fences.block_at(self.at)
        {
            self.at = block.end;
            return self.block(&block);
        }
        if answers::is_quoted(line) {
            self.skip_line();
            return Ok(());
        }
        if let Some(call) = answers::call_at(line).filter(|_| self.calls < MAX_CALLS) {
            self.calls += 1;
            return if call.variable {
                self.variable(call)
            } else {
                self.answer(call)
            };
        }
        if let Some(inside) = tagged::opening_in(line) {
            let tagged = tagged(self.text, self.at + inside);
            self.at = tagged.end;
            let found = tool_call::commands(tagged.body, Meant::Surely)?;
            self.reading.commands.extend(found);
            return Ok(());
        }
        self.prose(line);
        Ok(())
    }

    /// The rest of the line; its end is looked up only once.
    fn line(&mut self) -> &'a str {
        if self.at > self.line_end || self.line_end == 0 {
            self.line_end = self.at + line_at(self.text, self.at).len();
        }
        &self.text[self.at..self.line_end]
    }

    fn skip_line(&mut self) {
        let line = self.line();
        self.at = next_line(self.text, self.at, line);
    }

    /// Passes a line of prose over, noting what may have been meant.
    fn prose(&mut self, line: &str) {
        if line.contains("FINAL(") || line.contains("FINAL_VAR(") {
            self.mention(line);
        }
        let fences = line.matches("```").count();
        if fences % 2 == 1 || line.trim_start().starts_with("```") {
            self.reading
                .broken_fence
                .get_or_insert_with(|| excerpt(line));
        }
        self.skip_line();
    }

    fn mention(&mut self, line: &str) {
        self.reading.mention.get_or_insert_with(|| excerpt(line));
    }

    fn block(&mut self, block: &Block<'_>) -> Result<(), Correction> {
        match block.language {
            Language::Python => {
                let source = block::python(block.body, block.indent);
                self.code(source.map(|source| Command::Code(PythonCode { source })));
            }
            Language::Shell => {
                let source = block::shell(block.body, block.indent);
                self.code(source.map(|source| Command::Run(BashCommand { source })));
            }
            Language::ToolCall => self.json(block, Meant::Surely)?,
            Language::Json => self.json(block, Meant::Perhaps)?,
            Language::Unlabelled => self.unlabelled(block)?,
            Language::Markdown | Language::Other => self.other(block),
        }
        Ok(())
    }

    fn code(&mut self, command: Option<Command>) {
        self.reading.empty_block |= command.is_none();
        self.reading.commands.extend(command);
    }

    fn json(&mut self, block: &Block<'_>, meant: Meant) -> Result<(), Correction> {
        let found = tool_call::commands(block.body, meant)?;
        if found.is_empty() {
            self.other(block);
        }
        self.reading.commands.extend(found);
        Ok(())
    }

    fn other(&mut self, block: &Block<'_>) {
        self.reading
            .other_language
            .get_or_insert_with(|| excerpt(block.info));
    }

    /// A block without a label is what it looks like: Python, a tool call, or
    /// else prose. If it holds fences itself, it quotes somebody's reply.
    fn unlabelled(&mut self, block: &Block<'_>) -> Result<(), Correction> {
        if json::begins(block.body) {
            let found = tool_call::commands(block.body, Meant::Perhaps)?;
            if !found.is_empty() {
                self.reading.commands.extend(found);
                return Ok(());
            }
        }
        if let Some(source) = block::python(block.body, block.indent)
            && bare::is_code(&source)
        {
            self.code(Some(Command::Code(PythonCode { source })));
        } else if is_mere_prose(block.body) {
            let inner = read(block.body)?;
            self.reading.commands.extend(inner.commands);
            self.reading.mention = self.reading.mention.take().or(inner.mention);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(text: &str) -> Reading {
        read(text).unwrap_or_else(|error| panic!("{text}: {error:?}"))
    }

    #[test]
    fn what_may_have_been_meant_is_noted() {
        let mentioned = reading("I will call FINAL(x) later.\nThen FINAL_VAR(y).");
        assert_eq!(
            mentioned.mention.as_deref(),
            Some("I will call FINAL(x) later.")
        );
        let inline = reading("```python print(1)```");
        assert!(inline.broken_fence.is_some() && inline.commands.is_empty());
        let labelled = reading("```rust\nfn main() {}\n```\n```c\n```");
        assert_eq!(labelled.other_language.as_deref(), Some("rust"));
        assert!(reading("```python\n\n```").empty_block);
    }

    #[test]
    fn a_fence_inside_a_sentence_is_noted_but_inline_code_is_not() {
        assert!(
            reading("Here it is: ```python\nprint(1)")
                .broken_fence
                .is_some()
        );
        assert!(
            reading("Use ```print(1)``` for that.")
                .broken_fence
                .is_none()
        );
    }

    #[test]
    fn commands_on_one_line_are_read_one_by_one() {
        let text = "<tool_call>{\"tool\":\"python\",\"code\":\"a\"}</tool_call> \
                    <tool_call>{\"tool\":\"bash\",\"cmd\":\"b\"}</tool_call> FINAL(c) FINAL_VAR(d)";
        let expected = [
            Command::Code(PythonCode { source: "a".into() }),
            Command::Run(BashCommand { source: "b".into() }),
            Command::Final("c".into()),
            Command::FinalVariable("d".into()),
        ];
        assert_eq!(reading(text).commands, expected);
    }

    #[test]
    fn mere_prose_holds_neither_blocks_nor_tool_calls() {
        assert!(is_mere_prose("a\n> ```\nFINAL(x)"));
        assert!(!is_mere_prose("a\n```\nb"));
        assert!(!is_mere_prose("a\n<tool_call>\n{}"));
    }
}
