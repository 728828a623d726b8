//! Python that a small model wrote without a fence.
//!
//! # The heuristic
//!
//! The text is split into logical lines, and each is read as a statement, as a
//! comment, or as prose (see `tokens` and `statement`). The code is what follows
//! the last line of prose, and it counts as code only if all of this holds:
//!
//! - every line of it is Python by shape, and indents follow a colon;
//! - one statement at least is plainly code: an import, a definition, a loop or
//!   condition, a call, an assignment of something with brackets or quotes. A
//!   simple assignment (`x = 5`) is plain only beside a `FINAL` call;
//! - no line that is plainly code stands above a line of prose: a reply that
//!   mixes the two is not cut into pieces. Only a line that begins with a call of
//!   `FINAL` in words may follow: it ends the code.
//!
//! In doubt the text is prose: the model is then asked for a fence, which costs
//! one turn, while prose that is run as code costs trust in the output.

use std::ops::ControlFlow::{self, Break, Continue};
use std::ops::Range;

use super::answers;
use super::fence::{line_at, next_line};
use super::statement::{self, Kind};
use super::tokens::Tokens;

/// Where the bare code stands that the text consists of or ends with.
///
/// The code may also end where a line of prose begins with a call of `FINAL`.
pub(super) fn code_span(text: &str) -> Option<Range<usize>> {
    let mut search = Search::default();
    let mut tokens = Tokens::default();
    let mut first_line = 0;
    let mut at = 0;
    while at < text.len() {
        let line = line_at(text, at);
        if !tokens.is_open() {
            tokens = Tokens::default();
            first_line = at;
        }
        at = next_line(text, at, line);
        let flow = if tokens.read_line(line).is_err() {
            tokens = Tokens::default();
            search.prose(text, first_line)
        } else if tokens.is_open() {
            Continue(())
        } else {
            search.logical_line(text, first_line, &tokens)
        };
        if let Break(span) = flow {
            return span;
        }
    }
    if tokens.is_open() {
        return search.prose(text, first_line).break_value().flatten();
    }
    search.span(text.len())
}

/// Whether the text is bare code from its first line to its last.
pub(super) fn is_code(text: &str) -> bool {
    let all = |span: Range<usize>| span.end == text.len() && text[..span.start].trim().is_empty();
    code_span(text).is_some_and(all)
}

/// Whether the search goes on; if not, what it found.
type Flow = ControlFlow<Option<Range<usize>>>;

/// What is known of the code found so far.
#[derive(Debug, Default)]
struct Search {
    /// Where the code begins.
    start: Option<usize>,
    /// Whether a statement is plainly code.
    strong: bool,
    assigns: bool,
    calls_final: bool,
    last: Option<Last>,
}

/// The statement before.
#[derive(Clone, Copy, Debug)]
struct Last {
    indent: usize,
    opens_block: bool,
}

impl Search {
    /// Takes a logical line in.
    fn logical_line(&mut self, text: &str, first: usize, tokens: &Tokens<'_>) -> Flow {
        let line = line_at(text, first);
        if tokens.list.is_empty() {
            // A comment may open the code; a blank line may not.
            if !line.trim().is_empty() {
                self.start.get_or_insert(first);
            }
            return Continue(());
        }
        let indent = line.len() - line.trim_start().len();
        match statement::kind(&tokens.list) {
            Some(kind) if self.accepts(kind, indent) => {
                self.start.get_or_insert(first);
                self.note(kind);
                let opens_block = statement::opens_block(&tokens.list);
                self.last = Some(Last {
                    indent,
                    opens_block,
                });
                Continue(())
            }
            _ => self.prose(text, first),
        }
    }

    fn accepts(&self, kind: Kind, indent: usize) -> bool {
        let indent_fits = match self.last {
            None => true,
            Some(last) if last.opens_block => indent > last.indent,
            Some(last) => indent <= last.indent,
        };
        indent_fits && (kind > Kind::Echo || self.strong)
    }

    fn note(&mut self, kind: Kind) {
        match kind {
            Kind::Strong => self.strong = true,
            Kind::Assignment => self.assigns = true,
            Kind::FinalCall => self.calls_final = true,
            Kind::Weak | Kind::Echo => {}
        }
    }

    /// Takes a line of prose in. What stands above it is no code then, and if it
    /// plainly is, the two are mixed; only an answer may follow code.
    fn prose(&mut self, text: &str, first: usize) -> Flow {
        if !self.is_plain() {
            *self = Self::default();
            return Continue(());
        }
        let line = line_at(text, first);
        let answers = !line.starts_with([' ', '\t']) && answers::call_at(line).is_some();
        Break(if answers { self.span(first) } else { None })
    }

    fn is_plain(&self) -> bool {
        self.strong || (self.assigns && self.calls_final)
    }

    /// The code, if it is plainly code and ends here.
    fn span(&self, end: usize) -> Option<Range<usize>> {
        let complete = !self.last.is_some_and(|last| last.opens_block);
        let start = self.start.filter(|_| complete && self.is_plain())?;
        Some(start..end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_that_is_all_code_is_code() {
        let replies = [
            "print(len(context))",
            "import re\n\nfor m in re.findall(r'\\d+', context):\n    print(m)\n",
            "# Count\nn = len(context)\nn",
            "def f(x):\n    \"\"\"Doc of it, in words.\"\"\"\n    return x\n\nprint(f(1))",
            "x = 5\nFINAL(x)",
            "answer = llm_query(f\"\"\"Say what\nthis is? {context}\"\"\")\nprint(answer)",
            "rows = [\n    1,\n    2,\n]\nprint(rows)",
            "    x = f(1)\n    print(x)",
            "if x:\n    print(1)\nelse:\n    print(2)",
            "try:\n    print(1)\nexcept ValueError as e:\n    print(e)",
        ];
        for reply in replies {
            assert!(is_code(reply), "{reply}");
        }
    }

    #[test]
    fn code_may_follow_an_introduction() {
        let cases = [
            ("Here is the code:\nprint(1)", "print(1)"),
            (
                "Sure!\n\nLet's look.\n\n# Look\nprint(context[:100])",
                "# Look\nprint(context[:100])",
            ),
            (
                "The code:\n\nimport re\nx = re.findall('a', context)",
                "import re\nx = re.findall('a', context)",
            ),
            ("y = 2 holds.\nprint(1)", "print(1)"),
        ];
        for (reply, code) in cases {
            let span = code_span(reply).unwrap_or_else(|| panic!("{reply}"));
            assert_eq!(&reply[span], code, "{reply}");
        }
    }

    #[test]
    fn prose_does_not_become_code() {
        let replies = [
            "",
            "\n\n",
            "The answer is 42.",
            "42",
            "x = 5",
            "O(n)",
            "Mercury(II)",
            "FINAL(42)",
            "FINAL_VAR(x)",
            "FINAL(the answer\nis long)",
            "# A heading\n\nSome words.",
            "# A heading",
            "I would call print(x) here.",
            "First, import the data.\nThen print(it).",
            "for example:",
            "if so:\n",
            "while True:",
            "if x:\nprint(1)",
            "  print(1)\n    print(2)",
            "print(1)\nThat shows the first one.",
            "print(1)\nNow the next:\nprint(2)",
            "print(len(context)",
            "x = '''never closed\nprint(1)",
            "- print(1)\n- print(2)",
            "> print(1)",
            "{\"name\": \"python\"}",
            "Paris, Lyon, Nice",
            "return",
        ];
        for reply in replies {
            assert_eq!(code_span(reply), None, "{reply}");
        }
    }

    #[test]
    fn code_ends_where_an_answer_in_words_begins() {
        let reply = "n = len(context)\nprint(n)\nFINAL(the context is long)";
        let code = code_span(reply).map(|span| &reply[span]);
        assert_eq!(code, Some("n = len(context)\nprint(n)\n"));
        assert_eq!(code_span("if f(x):\nFINAL(the file is long)"), None);
        assert_eq!(
            code_span("if f(x):\n    print(x)\n    FINAL(the file is long)"),
            None
        );
    }

    #[test]
    fn code_after_an_introduction_is_not_code_throughout() {
        assert!(!is_code("Here:\nprint(1)"));
        assert!(is_code("\n\nprint(1)"));
    }
}
