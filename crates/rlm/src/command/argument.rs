//! The argument of a `FINAL(` in prose: where it ends and what it says.

use super::fence::{line_at, next_line};
use super::fences::Fences;
use super::literal::Literal;

/// What stands between the parentheses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Argument {
    /// The answer.
    pub(super) text: String,
    /// Whether it is an f-string with something to fill in.
    pub(super) formatted: bool,
    /// Just past the closing parenthesis; none if the text ends before it.
    pub(super) end: Option<usize>,
}

/// Reads the argument that begins just past the opening parenthesis.
///
/// `fences` are those of the text: parentheses inside a fenced block do not
/// count. Nothing past `limit` is looked at.
pub(super) fn argument(fences: &mut Fences<'_>, text: &str, from: usize, limit: usize) -> Argument {
    let text = &text[..limit];
    let literal = Literal::at(text, from);
    if let Some(literal) = literal
        && let Some(argument) = quoted(literal, fences, text, from)
    {
        return argument;
    }
    if let Some(close) = balanced_close(fences, text, from) {
        return Argument {
            text: text[from..close].trim().to_owned(),
            formatted: false,
            end: Some(close + 1),
        };
    }
    let answer = match literal {
        None => text[from..].trim().to_owned(),
        Some(literal) => literal.cut_short(&text[literal.body..]),
    };
    Argument {
        text: answer,
        formatted: false,
        end: None,
    }
}

/// The argument as a string, if the string ends before a closing parenthesis.
fn quoted(
    literal: Literal<'_>,
    fences: &mut Fences<'_>,
    text: &str,
    from: usize,
) -> Option<Argument> {
    let (inside_end, close) = literal.closing(text)?;
    // A quote inside a program belongs to the program.
    if is_in_block(fences, text, from, close) {
        return None;
    }
    let inside = &text[literal.body..inside_end];
    let broken = literal.is_broken(inside);
    Some(Argument {
        // `"a" and "b"` is text that has quotes in it, not a string.
        text: if broken {
            text[from..close].trim().to_owned()
        } else {
            literal.meaning(inside)
        },
        formatted: !broken && literal.is_filled_in(inside),
        end: Some(close + 1),
    })
}

/// The closing parenthesis that belongs to the one before the place.
fn balanced_close(fences: &mut Fences<'_>, text: &str, from: usize) -> Option<usize> {
    let mut depth = 1_usize;
    let mut at = from;
    while at < text.len() {
        if at > from
            && let Some(block) = fences.block_at(at)
        {
            at = block.end;
            continue;
        }
        let line = line_at(text, at);
        for (offset, byte) in line.bytes().enumerate() {
            match byte {
                b'(' => depth += 1,
                b')' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return Some(at + offset);
            }
        }
        at = next_line(text, at, line);
    }
    None
}

/// Whether a fenced block that opens below the line of `from` holds a place.
fn is_in_block(fences: &mut Fences<'_>, text: &str, from: usize, place: usize) -> bool {
    let mut at = next_line(text, from, line_at(text, from));
    while at < place {
        let Some(block) = fences.block_at(at) else {
            at = next_line(text, at, line_at(text, at));
            continue;
        };
        if place < block.end {
            return true;
        }
        at = block.end;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Argument {
        argument(&mut Fences::new(text), text, 0, text.len())
    }

    #[test]
    fn the_argument_ends_at_its_own_parenthesis() {
        let cases = [
            ("42) x", "42", " x"),
            ("x (y) z)", "x (y) z", ""),
            (" a\nb (c\nd)\n) e", "a\nb (c\nd)", " e"),
            ("\"x\")", "x", ""),
            ("'x' )", "x", ""),
            ("'''a\n'b' ''')", "a\n'b' ", ""),
            ("\"\"\"a ) b\"\"\")", "a ) b", ""),
            ("\"smile :) ok\") z", "smile :) ok", " z"),
            (
                "\"a\\nb \\\"c\\\" \\\\d \\frac\")",
                "a\nb \"c\" \\d \\frac",
                "",
            ),
            ("r\"a\\nb\")", "a\\nb", ""),
            ("\"x\" and \"y\")", "\"x\" and \"y\"", ""),
            ("'tis so)", "'tis so", ""),
            ("\"\")", "", ""),
            (")", "", ""),
            (
                "see:\n```python\nprint(':)')\n```\nso)",
                "see:\n```python\nprint(':)')\n```\nso",
                "",
            ),
        ];
        for (text, answer, rest) in cases {
            let argument = read(text);
            assert_eq!(argument.text, answer, "{text}");
            assert_eq!(argument.end.map(|end| &text[end..]), Some(rest), "{text}");
        }
    }

    #[test]
    fn an_argument_cut_short_is_what_there_is() {
        let cases = [
            ("the answer is\n42\n", "the answer is\n42"),
            ("\"\"\"long\\n", "long\n"),
            ("\"long", "long"),
            ("'''long'''", "long"),
            ("a (b) c", "a (b) c"),
            ("", ""),
        ];
        for (text, answer) in cases {
            let argument = read(text);
            assert_eq!(
                (argument.text.as_str(), argument.end),
                (answer, None),
                "{text}"
            );
        }
    }

    #[test]
    fn a_quote_does_not_reach_into_a_block() {
        let argument = read("\"a)\n```python\nprint(\"x\")\n```");
        assert_eq!((argument.text.as_str(), argument.end), ("\"a", Some(3)));
    }

    #[test]
    fn a_string_to_be_filled_in_is_marked() {
        assert!(read("f\"{x} items\")").formatted);
        assert!(!read("f\"items\")").formatted);
        assert!(!read("\"{x}\")").formatted);
    }
}
