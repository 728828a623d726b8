//! Splits a logical line into Python tokens, or finds that it is none.
//!
//! A logical line may run over several lines of text: while a bracket or a
//! triple-quoted string is open, or after a backslash. Text that cannot be
//! Python is refused as soon as it shows: two names side by side (`the file`),
//! a character that Python does not know (`?`, `’`, a backtick), an apostrophe
//! that closes nothing. That test is what keeps prose from becoming code.

use super::python_strings::{is_triple, short_string_end};

/// As many open brackets as Python itself allows.
const MAX_DEPTH: usize = 200;

/// More tokens outside brackets than anyone writes in one statement.
const MAX_TOKENS: usize = 2_000;

/// The words between which names may stand side by side.
const KEYWORDS: [&str; 34] = [
    "and", "as", "assert", "async", "await", "break", "case", "class", "continue", "def", "del",
    "elif", "else", "except", "finally", "for", "from", "global", "if", "import", "in", "is",
    "lambda", "match", "nonlocal", "not", "or", "pass", "raise", "return", "try", "while", "with",
    "yield",
];

/// A token outside brackets; a whole bracket group is one token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A name or keyword.
    Name(&'a str),
    /// A number or `...`.
    Number,
    /// A string.
    Text,
    /// A bracket group, and whether it follows directly on what it belongs to.
    Group { bracket: u8, attached: bool },
    /// `=` or an operator such as `+=`.
    Assign,
    /// Any other operator character.
    Mark(u8),
}

/// What the token before was, as far as the next one depends on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Previous {
    #[default]
    Other,
    Operand,
    Text,
}

/// The text was found not to be Python.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotPython;

/// The tokens of one logical line so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Tokens<'a> {
    /// The tokens outside brackets.
    pub(super) list: Vec<Token<'a>>,
    /// The brackets that are open.
    brackets: Vec<u8>,
    /// The quote character of the triple-quoted string that is open.
    quote: Option<u8>,
    /// Whether the line ended with a backslash.
    continued: bool,
    previous: Previous,
}

impl<'a> Tokens<'a> {
    /// Whether the logical line goes on in the next line of text.
    pub(super) fn is_open(&self) -> bool {
        self.continued || self.quote.is_some() || !self.brackets.is_empty()
    }

    /// Adds the tokens of the next line of text.
    pub(super) fn read_line(&mut self, line: &'a str) -> Result<(), NotPython> {
        self.continued = false;
        let mut at = 0;
        while at < line.len() {
            at = self.read_token(line, at)?;
        }
        Ok(())
    }

    /// Reads what stands at a place and returns where the next thing stands.
    fn read_token(&mut self, line: &'a str, at: usize) -> Result<usize, NotPython> {
        let bytes = line.as_bytes();
        if let Some(quote) = self.quote {
            return Ok(self.read_long_string(bytes, at, quote));
        }
        match bytes[at] {
            b' ' | b'\t' => Ok(at + 1),
            b'#' => Ok(line.len()),
            b'"' | b'\'' => self.open_string(bytes, at),
            bracket @ (b'(' | b'[' | b'{') => self.open_bracket(bytes, at, bracket),
            bracket @ (b')' | b']' | b'}') => self.close_bracket(at, bracket),
            b'0'..=b'9' => self.read_number(line, at),
            b'.' if line[at..].starts_with("...") => self.operand(Token::Number, at + 3),
            b'\\' if at + 1 == bytes.len() => {
                self.continued = true;
                Ok(at + 1)
            }
            b'?' | b'$' | b'`' | b'\\' => Err(NotPython),
            b'_' => self.read_name(line, at),
            byte if byte.is_ascii_punctuation() => self.read_operator(bytes, at),
            _ => self.read_name(line, at),
        }
    }

    fn push(&mut self, token: Token<'a>) -> Result<(), NotPython> {
        if self.brackets.is_empty() {
            self.list.push(token);
        }
        if self.list.len() > MAX_TOKENS {
            Err(NotPython)
        } else {
            Ok(())
        }
    }

    /// Adds a value, which cannot follow directly on another value.
    fn operand(&mut self, token: Token<'a>, end: usize) -> Result<usize, NotPython> {
        let previous = if token == Token::Text {
            Previous::Text
        } else {
            Previous::Operand
        };
        // Only strings may stand side by side: they are joined.
        if self.previous != Previous::Other
            && (previous, self.previous) != (Previous::Text, Previous::Text)
        {
            return Err(NotPython);
        }
        self.push(token)?;
        self.previous = previous;
        Ok(end)
    }

    fn read_name(&mut self, line: &'a str, at: usize) -> Result<usize, NotPython> {
        let rest = &line[at..];
        let length = rest
            .find(|c: char| !(c.is_alphanumeric() || c == '_'))
            .unwrap_or(rest.len());
        let name = &rest[..length];
        if name.is_empty() {
            return Err(NotPython);
        }
        if matches!(rest.as_bytes().get(length), Some(b'"' | b'\'')) && is_string_prefix(name) {
            return self.open_string(line.as_bytes(), at + length);
        }
        if !KEYWORDS.contains(&name) {
            return self.operand(Token::Name(name), at + length);
        }
        self.push(Token::Name(name))?;
        self.previous = Previous::Other;
        Ok(at + length)
    }

    fn read_number(&mut self, line: &'a str, at: usize) -> Result<usize, NotPython> {
        let rest = &line[at..];
        let length = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.')))
            .unwrap_or(rest.len());
        self.operand(Token::Number, at + length)
    }

    fn read_operator(&mut self, bytes: &[u8], at: usize) -> Result<usize, NotPython> {
        let byte = bytes[at];
        let before_equals = bytes.get(at + 1) == Some(&b'=');
        let (token, length) = match byte {
            b'=' | b'<' | b'>' | b'!' | b':' if before_equals => (Token::Mark(b'='), 2),
            b'!' => return Err(NotPython),
            b'=' => (Token::Assign, 1),
            b'+' | b'-' | b'*' | b'/' | b'%' | b'&' | b'|' | b'^' | b'@' if before_equals => {
                (Token::Assign, 2)
            }
            _ => (Token::Mark(byte), 1),
        };
        self.push(token)?;
        self.previous = Previous::Other;
        Ok(at + length)
    }

    fn open_bracket(&mut self, bytes: &[u8], at: usize, bracket: u8) -> Result<usize, NotPython> {
        let after_value = self.previous != Previous::Other;
        if self.brackets.len() >= MAX_DEPTH || (after_value && bracket == b'{') {
            return Err(NotPython);
        }
        let spaced = at > 0 && matches!(bytes[at - 1], b' ' | b'\t');
        self.push(Token::Group {
            bracket,
            attached: after_value && !spaced,
        })?;
        self.brackets.push(bracket);
        self.previous = Previous::Other;
        Ok(at + 1)
    }

    fn close_bracket(&mut self, at: usize, bracket: u8) -> Result<usize, NotPython> {
        let closes = match self.brackets.pop() {
            Some(b'(') => bracket == b')',
            Some(b'[') => bracket == b']',
            Some(b'{') => bracket == b'}',
            _ => false,
        };
        self.previous = Previous::Operand;
        if closes { Ok(at + 1) } else { Err(NotPython) }
    }

    fn open_string(&mut self, bytes: &[u8], at: usize) -> Result<usize, NotPython> {
        let quote = bytes[at];
        if is_triple(bytes, at, quote) {
            self.quote = Some(quote);
            return self.operand(Token::Text, at + 3);
        }
        let end = short_string_end(bytes, at + 1, quote).ok_or(NotPython)?;
        self.operand(Token::Text, end)
    }

    fn read_long_string(&mut self, bytes: &[u8], at: usize, quote: u8) -> usize {
        let mut at = at;
        while at < bytes.len() {
            if bytes[at] == b'\\' {
                at += 2;
            } else if is_triple(bytes, at, quote) {
                self.quote = None;
                return at + 3;
            } else {
                at += 1;
            }
        }
        at
    }
}

/// Whether a name directly before a quote is a string's prefix.
fn is_string_prefix(name: &str) -> bool {
    name.len() <= 2 && name.bytes().all(|byte| b"rRbBfFuU".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Tokens<'_>, NotPython> {
        let mut tokens = Tokens::default();
        text.lines().try_for_each(|line| tokens.read_line(line))?;
        Ok(tokens)
    }

    #[test]
    fn python_is_split_into_tokens() {
        let tokens =
            read("x[0] += f(a, b) if y == 'z' else -1  # note").expect("as the test wants");
        let attached = |bracket| Token::Group {
            bracket,
            attached: true,
        };
        let expected = [
            Token::Name("x"),
            attached(b'['),
            Token::Assign,
            Token::Name("f"),
            attached(b'('),
            Token::Name("if"),
            Token::Name("y"),
            Token::Mark(b'='),
            Token::Text,
            Token::Name("else"),
            Token::Mark(b'-'),
            Token::Number,
        ];
        assert_eq!(tokens.list, expected);
        assert!(!tokens.is_open());
    }

    #[test]
    fn a_statement_goes_on_while_something_is_open() {
        for text in [
            "f(a,",
            "x = [1,\n2",
            "x = '''a\nb",
            "x = 1 + \\",
            "d = {'a': (1,",
        ] {
            assert!(read(text).expect("as the test wants").is_open(), "{text}");
        }
        for text in [
            "f(a,\nb)",
            "x = '''a\nb'''",
            "x = 1 + \\\n2",
            "\"a\" 'b'",
            "x = ...",
            "été = 1",
        ] {
            assert!(!read(text).expect("as the test wants").is_open(), "{text}");
        }
    }

    #[test]
    fn prose_is_no_python() {
        let lines = [
            "the file is big",
            "Don't do it",
            "What now?",
            "costs $5",
            "f(see the docs)",
            "“quoted”",
            "x = 3 apples",
            "a) first",
            "(a]",
            "wow!",
            "use `x`",
            "a → b",
            "x{1}",
            "print \"x\"",
        ];
        for line in lines {
            assert_eq!(read(line).err(), Some(NotPython), "{line}");
        }
    }

    #[test]
    fn bottomless_brackets_are_refused() {
        assert!(read(&"(".repeat(10_000)).is_err());
        assert!(read(&"a.".repeat(10_000)).is_err());
    }
}
