//! The argument of a `FINAL(` in prose: where it ends and what it says.

use serde::de::IgnoredAny;
use serde_json::Deserializer;

/// What stands between the parentheses.
#[derive(Clone, Debug)]
pub(crate) struct Argument {
    /// The answer.
    pub(crate) text: String,
    /// Whether it is an f-string with something to fill in.
    pub(crate) is_formatted: bool,
    /// Just past the closing parenthesis; none if the text ends before it.
    pub(crate) end: Option<usize>,
}

/// Reads the argument that begins just past the opening parenthesis.
pub(crate) fn argument(text: &str, from: usize) -> Argument {
    let literal = Literal::at(text, from);
    if let Some((literal, (quote, close))) = literal.and_then(|one| Some((one, one.closing(text)?)))
    {
        let inside = &text[literal.body..quote];
        let is_string = !literal.is_broken(inside);
        return Argument {
            // `"a" and "b"` is text that has quotes in it, not a string.
            text: if is_string {
                literal.meaning(inside)
            } else {
                text[from..close].trim().to_owned()
            },
            is_formatted: is_string && literal.has_prefix('f') && inside.contains('{'),
            end: Some(close + 1),
        };
    }
    if let Some((inside, close)) = fenced(text, from).or_else(|| json(text, from)) {
        return Argument {
            text: inside.trim().to_owned(),
            is_formatted: false,
            end: Some(close + 1),
        };
    }
    let close = balanced_close(text, from);
    Argument {
        text: match literal {
            Some(literal) if close.is_none() => {
                let inside = text[literal.body..].trim_end();
                literal.meaning(inside.trim_end_matches(literal.quote))
            }
            _ => text[from..close.unwrap_or(text.len())].trim().to_owned(),
        },
        is_formatted: false,
        end: close.map(|close| close + 1),
    }
}

/// What is inside a fenced block that is the whole argument, and the closing parenthesis.
fn fenced(text: &str, from: usize) -> Option<(&str, usize)> {
    let rest = text[from..].trim_start();
    let (_, body) = rest.strip_prefix("```")?.split_once('\n')?;
    let (inside, tail) = match body.strip_prefix("```") {
        Some(tail) => ("", tail),
        None => body.split_once("\n```")?,
    };
    Some((inside, closing(text, tail)?))
}

/// JSON that is the whole argument, whatever parentheses it has in its strings, and the closing
/// parenthesis.
fn json(text: &str, from: usize) -> Option<(&str, usize)> {
    let rest = text[from..].trim_start();
    if !rest.starts_with(['{', '[']) {
        return None;
    }
    let mut values = Deserializer::from_str(rest).into_iter::<IgnoredAny>();
    values.next()?.ok()?;
    let (inside, tail) = rest.split_at(values.byte_offset());
    Some((inside, closing(text, tail)?))
}

/// Where the parenthesis stands that the rest of a text begins with, past white space.
fn closing(text: &str, rest: &str) -> Option<usize> {
    let rest = rest.trim_start();
    rest.starts_with(')').then(|| text.len() - rest.len())
}

/// The closing parenthesis that belongs to the one before the place; none if it would be in the middle of
/// a fenced block.
fn balanced_close(text: &str, from: usize) -> Option<usize> {
    let mut depth = 1_usize;
    for (at, byte) in text.bytes().enumerate().skip(from) {
        match byte {
            b'(' => depth += 1,
            b')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return text[from..at]
                .matches("```")
                .count()
                .is_multiple_of(2)
                .then_some(at);
        }
    }
    None
}

/// A Python string literal that an argument begins with.
#[derive(Clone, Copy, Debug)]
struct Literal<'a> {
    prefix: &'a str,
    quote: &'static str,
    /// Where the string's inside begins.
    body: usize,
}

impl<'a> Literal<'a> {
    /// The literal that stands here, past white space.
    fn at(text: &'a str, from: usize) -> Option<Self> {
        let rest = text[from..].trim_start();
        let string = rest.trim_start_matches(|c| "rRbBfFuU".contains(c));
        let prefix = &rest[..rest.len() - string.len()];
        let quotes = ["\"\"\"", "'''", "\"", "'"];
        let quote = quotes.into_iter().find(|quote| string.starts_with(quote))?;
        (prefix.len() <= 2).then_some(Self {
            prefix,
            quote,
            body: text.len() - string.len() + quote.len(),
        })
    }

    /// Where the quote stands that a closing parenthesis follows, and where that parenthesis stands. A
    /// short quote does not reach into a fenced block.
    fn closing(&self, text: &str) -> Option<(usize, usize)> {
        let mut from = self.body;
        loop {
            let quote = from + text[from..].find(self.quote)?;
            let tail = text[quote + self.quote.len()..].trim_start();
            let inside = &text[self.body..quote];
            if tail.starts_with(')') && !is_escaped(inside) {
                let is_whole = self.quote.len() == 3 || !inside.contains("\n```");
                return is_whole.then_some((quote, text.len() - tail.len()));
            }
            from = quote + 1;
        }
    }

    /// Whether the inside has the string's own quote in it.
    fn is_broken(&self, inside: &str) -> bool {
        let mut quotes = inside.match_indices(self.quote);
        self.quote.len() == 1 && quotes.any(|(at, _)| !is_escaped(&inside[..at]))
    }

    fn has_prefix(&self, letter: char) -> bool {
        self.prefix.to_ascii_lowercase().contains(letter)
    }

    /// What the string says: its usual escapes are read, others stay.
    fn meaning(&self, inside: &str) -> String {
        if self.has_prefix('r') {
            return inside.to_owned();
        }
        let mut meaning = String::with_capacity(inside.len());
        let mut characters = inside.chars();
        while let Some(character) = characters.next() {
            if character != '\\' {
                meaning.push(character);
                continue;
            }
            match characters.next() {
                Some('n') => meaning.push('\n'),
                Some('t') => meaning.push('\t'),
                Some(escaped @ ('\\' | '"' | '\'')) => meaning.push(escaped),
                Some('\n') => {}
                other => meaning.extend(std::iter::once('\\').chain(other)),
            }
        }
        meaning
    }
}

/// Whether what follows this text is escaped by its last backslash.
fn is_escaped(before: &str) -> bool {
    (before.len() - before.trim_end_matches('\\').len()) % 2 == 1
}
