//! Fenced blocks: where one begins and where it ends.
//!
//! The rules are those of Markdown with three changes that replies need. A fence
//! may be indented as far as it likes (lists in replies are seldom exact). A
//! fence line inside a triple-quoted Python string is part of the program. And a
//! Markdown block may hold blocks whose fences are as long as its own.

use super::fence::{Opening, line_at, next_line, opening};
use super::language::Language;
use super::python_strings::PythonStrings;

/// A fenced block of the reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Block<'a> {
    pub(super) language: Language,
    /// The info string as it stands.
    pub(super) info: &'a str,
    /// The lines between the fences, without the last line end.
    pub(super) body: &'a str,
    /// The column of the opening fence.
    pub(super) indent: usize,
    /// Where the text after the block begins.
    pub(super) end: usize,
}

/// Finds the blocks of one text, from its beginning to its end.
///
/// It remembers the searches that ran to the end in vain, so that a text full
/// of strings or blocks that never close is still read in linear time.
#[derive(Clone, Debug)]
pub(super) struct Fences<'a> {
    text: &'a str,
    /// The quote characters whose open strings are known never to close.
    never_closed: Vec<u8>,
    /// Whether a Markdown block's inner fences did not pair up.
    unpaired: bool,
}

impl<'a> Fences<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            text,
            never_closed: Vec::new(),
            unpaired: false,
        }
    }

    /// The block whose opening fence is the line that begins here.
    pub(super) fn block_at(&mut self, at: usize) -> Option<Block<'a>> {
        let line = line_at(self.text, at);
        let opening = opening(line)?;
        let language = Language::of(opening.info);
        let from = next_line(self.text, at, line);
        let (close, end) = match language {
            Language::Python => self.python_close(&opening, from),
            Language::Markdown if !self.unpaired => self.markdown_close(&opening, from),
            _ => self.first_close(&opening, from),
        };
        let body = &self.text[from..close];
        Some(Block {
            language,
            info: opening.info,
            body: body.strip_suffix('\n').unwrap_or(body),
            indent: opening.indent,
            end,
        })
    }

    /// The first closing fence, as the places where it begins and where the text
    /// after it does. Without one the block runs to the end of the text.
    fn first_close(&self, opening: &Opening<'_>, from: usize) -> (usize, usize) {
        let mut at = from;
        while at < self.text.len() {
            let line = line_at(self.text, at);
            let next = next_line(self.text, at, line);
            if opening.is_closed_by(line) {
                return (at, next);
            }
            at = next;
        }
        (at, at)
    }

    /// The first closing fence outside the program's triple-quoted strings.
    fn python_close(&mut self, opening: &Opening<'_>, from: usize) -> (usize, usize) {
        let mut strings = PythonStrings::default();
        // The first fence inside the string that is open, for the case that the
        // string never closes, with the string's number.
        let mut inside = None;
        let mut at = from;
        while at < self.text.len() {
            let line = line_at(self.text, at);
            let next = next_line(self.text, at, line);
            match strings.open() {
                None if opening.is_closed_by(line) => return (at, next),
                // The model forgot the closing fence: no program has such a line.
                None if opening.marker == b'`' && opening.is_repeated_by(line) => return (at, at),
                Some(quote) if opening.is_closed_by(line) => {
                    if self.never_closed.contains(&quote) {
                        return (at, next);
                    }
                    if inside.is_none_or(|(number, _)| number != strings.openings()) {
                        inside = Some((strings.openings(), (at, next)));
                    }
                }
                _ => {}
            }
            strings.read_line(line);
            at = next;
        }
        let Some(quote) = strings.open() else {
            return (at, at);
        };
        self.never_closed.push(quote);
        match inside {
            Some((number, close)) if number == strings.openings() => close,
            _ => (at, at),
        }
    }

    /// The closing fence of a Markdown block, past the blocks inside it.
    fn markdown_close(&mut self, opening: &Opening<'_>, from: usize) -> (usize, usize) {
        let mut depth = 1_usize;
        let mut at = from;
        while at < self.text.len() {
            let line = line_at(self.text, at);
            let next = next_line(self.text, at, line);
            if opening.is_repeated_by(line) {
                depth += 1;
            } else if opening.is_closed_by(line) {
                depth -= 1;
                if depth == 0 {
                    return (at, next);
                }
            }
            at = next;
        }
        self.unpaired = true;
        self.first_close(opening, from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bodies of a text's blocks, in order.
    fn bodies(text: &str) -> Vec<&str> {
        let mut fences = Fences::new(text);
        let mut found = Vec::new();
        let mut at = 0;
        while at < text.len() {
            if let Some(block) = fences.block_at(at) {
                at = block.end;
                found.push(block.body);
            } else {
                at = next_line(text, at, line_at(text, at));
            }
        }
        found
    }

    #[test]
    fn only_a_bare_fence_that_is_long_enough_closes_a_block() {
        let cases = [
            ("```py\na\n```\nb", vec!["a"]),
            ("```py\na\n```  \nb", vec!["a"]),
            ("````py\na\n```\nb\n`````", vec!["a\n```\nb"]),
            ("~~~py\na\n```\nb\n~~~", vec!["a\n```\nb"]),
            ("```sh\na\n``` x\nb\n```", vec!["a\n``` x\nb"]),
            ("```sh\na\n         ```\nb\n```", vec!["a\n         ```\nb"]),
            ("```py\na", vec!["a"]),
            ("```py", vec![""]),
            ("```py\na\n```\n\n```sh\nb\n```", vec!["a", "b"]),
            ("1. x\n\n    ```py\n    a\n    ```\n\n2. y", vec!["    a"]),
        ];
        for (text, expected) in cases {
            assert_eq!(bodies(text), expected, "{text}");
        }
    }

    #[test]
    fn a_fence_inside_a_triple_quoted_string_does_not_close_the_block() {
        let program = "p = \"\"\"Say\n```json\n{}\n```\n\"\"\"\nprint(p)";
        assert_eq!(bodies(&format!("```python\n{program}\n```\nx")), [program]);
    }

    #[test]
    fn a_string_that_never_closes_gives_way_to_the_first_fence() {
        let text = "```python\np = \"\"\"a\n```\nb\n```python\nc = '''\n```\nd";
        assert_eq!(bodies(text), ["p = \"\"\"a", "c = '''"]);
        let later = "```python\na = '''\n```\n'''\nb = \"\"\"c\n```\nd\n```text\ne\n```";
        assert_eq!(bodies(later), ["a = '''\n```\n'''\nb = \"\"\"c", "e"]);
    }

    #[test]
    fn a_forgotten_closing_fence_ends_where_the_next_block_opens() {
        assert_eq!(bodies("```python\na\n```python\nb\n```"), ["a", "b"]);
    }

    #[test]
    fn a_markdown_block_holds_the_blocks_inside_it() {
        let inner = "# T\n```python\na\n```";
        assert_eq!(bodies(&format!("````markdown\n{inner}\n````\nx")), [inner]);
        assert_eq!(
            bodies(&format!("```markdown\n{inner}\n```\n```sh\nb\n```")),
            [inner, "b"]
        );
        assert_eq!(bodies("```md\na\n```py\nb\n```\nc"), ["a\n```py\nb"]);
    }

    #[test]
    fn a_block_knows_its_label_and_column() {
        let mut fences = Fences::new("  ```{python} x\n  a\n  ```");
        let block = fences.block_at(0).expect("as the test wants");
        assert_eq!(block.language, Language::Python);
        assert_eq!(block.info, "{python} x");
        assert_eq!(block.indent, 2);
    }
}
