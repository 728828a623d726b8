//! Python that a small model wrote without a fence.
//!
//! Each logical line is a statement, a comment or prose. The code is what follows the last line of prose,
//! and it counts only if all of this holds:
//! - every line of it is Python by shape;
//! - one statement at least is plainly code: an import, a definition, a loop, a call, an assignment of
//!   something with brackets or quotes. `x = 5` is plain only beside a call of `FINAL`;
//! - no line that is plainly code stands above a line of prose: a reply that mixes the two is not cut into
//!   pieces. Only a line that begins with a call of `FINAL` in words may follow: it ends the code.
//!
//! In doubt the text is prose. The model is then asked for a fence, which costs one turn, while prose that
//! is run as code costs trust in the output.

use crate::fences::line_at;
use crate::statement::{Kind, Statement};
use crate::{final_call, program};
use std::ops::Range;

/// The prose before bare code, the code, and the answer after it.
pub(crate) fn split(text: &str) -> Option<(&str, String, &str)> {
    if let Some(program) = program::unprompted(text).filter(|program| is_code(program)) {
        return Some(("", program, ""));
    }
    let span = code_span(text)?;
    let (before, after) = (&text[..span.start], &text[span.end..]);
    // Any indent but none makes the common one go.
    let source = program::python(text[span].trim_end(), 1)?;
    Some((before, source, after))
}

/// Whether the text is bare code from its first line to its last.
pub(crate) fn is_code(text: &str) -> bool {
    code_span(text)
        .is_some_and(|span| span.end == text.len() && text[..span.start].trim().is_empty())
}

/// What is known of the code found so far.
#[derive(Debug, Default)]
struct Search {
    /// Where the code begins.
    start: Option<usize>,
    /// Whether a statement is plainly code.
    is_plain: bool,
    /// Whether a block has to follow the last statement.
    opens_block: bool,
}

impl Search {
    /// Takes in the statement that begins at `first`, if it is whole and may stand here.
    fn takes(&mut self, text: &str, first: usize, statement: &Statement) -> bool {
        if statement.is_open() {
            return false;
        }
        if statement.is_empty() {
            // A comment may open the code; a blank line may not.
            if !line_at(text, first).0.trim().is_empty() {
                self.start.get_or_insert(first);
            }
            return true;
        }
        match statement.kind() {
            Some(Kind::Strong) => self.is_plain = true,
            Some(Kind::FinalCall) if self.start.is_some() => self.is_plain = true,
            Some(Kind::Opening) => {}
            Some(_) if self.is_plain => {}
            _ => return false,
        }
        self.opens_block = statement.opens_block();
        self.start.get_or_insert(first);
        true
    }

    /// The code, if it is plainly code and ends here.
    fn span(&self, end: usize) -> Option<Range<usize>> {
        let start = self.start.filter(|_| self.is_plain && !self.opens_block)?;
        Some(start..end)
    }
}

/// Where the bare code stands that the text ends with, up to a call of `FINAL` in words.
fn code_span(text: &str) -> Option<Range<usize>> {
    let mut search = Search::default();
    let mut statement = Statement::default();
    let (mut first, mut at) = (0, 0);
    while at < text.len() {
        let (line, next) = line_at(text, at);
        if !statement.is_open() {
            statement = Statement::default();
            first = at;
        }
        at = next;
        let is_python = statement.read_line(line).is_some();
        if is_python && statement.is_open() && at < text.len() {
            continue;
        }
        if !(is_python && search.takes(text, first, &statement)) {
            // What stands above a line of prose is no code, or the two are mixed; only an answer may
            // follow code.
            let (line, _) = line_at(text, first);
            if search.is_plain {
                let is_answer =
                    !line.starts_with([' ', '\t']) && final_call::call_at(line).is_some();
                return search.span(first).filter(|_| is_answer);
            }
            search = Search::default();
            statement = Statement::default();
        }
    }
    search.span(text.len())
}
