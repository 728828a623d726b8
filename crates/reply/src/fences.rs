//! Fenced blocks: where one begins and where it ends.
//!
//! The rules are Markdown's, with two changes that replies need. A fence may be indented as far as it
//! likes, because lists in replies are seldom exact. A fence inside a triple-quoted Python string is part
//! of the program.

use crate::python::Strings;

/// How much deeper than the opening fence the closing one may be indented.
const MAX_CLOSING_INDENT: usize = 3;

/// What a block is said to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    Python,
    Shell,
    /// JSON, which may be a tool call or data.
    Json,
    /// JSON that is said to be a tool call.
    ToolCall,
    Unlabelled,
    /// It is quoted, not run.
    Other,
}

impl Language {
    /// Reads an info string such as `python title=x`, `{.python}` or `Bash`.
    fn of(info: &str) -> Self {
        if info.is_empty() {
            return Self::Unlabelled;
        }
        let name = info.trim_start_matches(['{', '.', ' ']).to_lowercase();
        let ends = |c: char| !(c.is_alphanumeric() || "_-+#.".contains(c));
        match name.split(ends).next().unwrap_or_default() {
            "py" | "py3" | "ipython" | "ipython3" | "pycon" | "repl" => Self::Python,
            "bash" | "sh" | "shell" | "console" | "zsh" | "shell-session" | "shellsession" => {
                Self::Shell
            }
            "json" => Self::Json,
            "tool_call" | "tool_calls" | "tool" | "function_call" => Self::ToolCall,
            // `python`, `python3`, `python3.12`
            name if name.strip_prefix("python").is_some_and(|version| {
                !version.contains(|c: char| c != '.' && !c.is_numeric())
            }) =>
            {
                Self::Python
            }
            _ => Self::Other,
        }
    }
}

/// A fenced block.
#[derive(Clone, Debug)]
pub(crate) struct Block<'a> {
    pub(crate) language: Language,
    /// The lines between the fences, without the last line end.
    pub(crate) body: &'a str,
    /// The column of the opening fence.
    pub(crate) indent: usize,
    /// Where the text after the block begins.
    pub(crate) end: usize,
    /// Whether it has a closing fence.
    pub(crate) is_closed: bool,
}

/// The line that opens a block.
struct Opening<'a> {
    marker: char,
    length: usize,
    indent: usize,
    info: &'a str,
}

/// Whether a line opens a block.
pub(crate) fn opens(line: &str) -> bool {
    opening(line).is_some()
}

fn opening(line: &str) -> Option<Opening<'_>> {
    let content = after_list_marker(line.trim_start());
    let marker = content.chars().next().filter(|c| "`~".contains(*c))?;
    let rest = content.trim_start_matches(marker);
    let length = content.len() - rest.len();
    // ```x``` on one line is inline code, and ~~~x~~~ is struck out.
    (length >= 3 && !rest.contains(marker)).then(|| Opening {
        marker,
        length,
        indent: line.len() - content.len(),
        info: rest.trim(),
    })
}

impl Opening<'_> {
    fn is_closed_by(&self, line: &str) -> bool {
        let content = line.trim_start();
        let rest = content.trim_start_matches(self.marker);
        content.len() - rest.len() >= self.length
            && line.len() - content.len() <= self.indent + MAX_CLOSING_INDENT
            && rest.trim_end().is_empty()
    }

    /// Whether the line opens a labelled block whose closing fence would close this one as well.
    fn is_repeated_by(&self, line: &str) -> bool {
        opening(line).is_some_and(|inner| {
            inner.marker == '`'
                && inner.marker == self.marker
                && inner.length >= self.length
                && !inner.info.is_empty()
        })
    }
}

/// The text after a list marker such as `- ` or `2. `, or the text itself.
fn after_list_marker(content: &str) -> &str {
    let unnumbered = content.trim_start_matches(|c: char| c.is_ascii_digit());
    let marker = match content.len() - unnumbered.len() {
        0 => content.strip_prefix(['-', '*', '+']),
        1..=9 => unnumbered.strip_prefix(['.', ')']),
        _ => None,
    };
    match marker {
        Some(rest) if rest.starts_with([' ', '\t']) => rest.trim_start(),
        _ => content,
    }
}

/// The line that begins at a place, without its line end, and where the next one begins.
pub(crate) fn line_at(text: &str, at: usize) -> (&str, usize) {
    let rest = &text[at..];
    match rest.find('\n') {
        Some(end) => (&rest[..end], at + end + 1),
        None => (rest, text.len()),
    }
}

/// Finds the blocks of one text, from its beginning to its end. It remembers the searches that ran to the
/// end in vain, so that a text full of strings or blocks that never close is still read in linear time.
#[derive(Clone, Debug)]
pub(crate) struct Fences<'a> {
    text: &'a str,
    /// The quote characters whose open strings are known never to close.
    never_closed: Vec<u8>,
}

impl<'a> Fences<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self {
            text,
            never_closed: Vec::new(),
        }
    }

    /// The block whose opening fence is the line that begins here.
    pub(crate) fn block_at(&mut self, at: usize) -> Option<Block<'a>> {
        let (line, from) = line_at(self.text, at);
        let opening = opening(line)?;
        let language = Language::of(opening.info);
        let (close, end) = self.close(&opening, language, from);
        let body = &self.text[from.min(close)..close];
        Some(Block {
            language,
            body: body.strip_suffix('\n').unwrap_or(body),
            indent: opening.indent,
            end,
            is_closed: close < end,
        })
    }

    /// Where the closing fence begins and where the text after it does. Without one the block runs to the
    /// end of the text.
    fn close(&mut self, opening: &Opening<'_>, language: Language, from: usize) -> (usize, usize) {
        let is_python = language == Language::Python;
        let mut strings = Strings::default();
        // For the case that a string never closes: the first closing fence since it was opened.
        let mut first = None;
        let mut at = from;
        while at < self.text.len() {
            let (line, next) = line_at(self.text, at);
            let is_open = strings
                .open()
                .is_some_and(|quote| !self.never_closed.contains(&quote));
            if is_python && strings.open().is_none() && opening.is_repeated_by(line) {
                // The model forgot the closing fence: no program has such a line.
                return (at, at);
            }
            if opening.is_closed_by(line) {
                if !is_open {
                    return (at, next);
                }
                if first.is_none_or(|(string, _)| string != strings.openings()) {
                    first = Some((strings.openings(), (at, next)));
                }
            }
            if is_python {
                strings.read_line(line);
            }
            at = next;
        }
        if let Some(quote) = strings.open() {
            self.never_closed.push(quote);
        }
        match first {
            Some((string, close)) if string == strings.openings() && strings.open().is_some() => {
                close
            }
            _ => (at, at),
        }
    }
}
