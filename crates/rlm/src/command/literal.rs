//! A Python string literal as the argument of a `FINAL(` in prose.

/// The quotes that an argument may stand in; the long ones come first.
const QUOTES: [&str; 4] = ["\"\"\"", "'''", "\"", "'"];

/// A string literal that an argument begins with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Literal<'a> {
    prefix: &'a str,
    quote: &'static str,
    /// Where the string's inside begins.
    pub(super) body: usize,
}

impl<'a> Literal<'a> {
    /// The literal that stands here, past white space.
    pub(super) fn at(text: &'a str, from: usize) -> Option<Self> {
        let rest = text[from..].trim_start();
        let letters = rest
            .bytes()
            .take_while(|byte| b"rRbBfFuU".contains(byte))
            .count();
        if letters > 2 {
            return None;
        }
        let (prefix, string) = rest.split_at(letters);
        let quote = QUOTES.into_iter().find(|quote| string.starts_with(quote))?;
        Some(Self {
            prefix,
            quote,
            body: text.len() - string.len() + quote.len(),
        })
    }

    /// Where the quote stands that a closing parenthesis follows, and where that
    /// parenthesis stands.
    pub(super) fn closing(&self, text: &str) -> Option<(usize, usize)> {
        let mut at = self.body;
        loop {
            let quote = at + text[at..].find(self.quote)?;
            let after = quote + self.quote.len();
            let tail = text[after..].trim_start();
            if tail.starts_with(')') && !is_escaped(&text[self.body..quote]) {
                return Some((quote, text.len() - tail.len()));
            }
            at = quote + 1;
        }
    }

    /// Whether something is to be filled into the string.
    pub(super) fn is_filled_in(&self, inside: &str) -> bool {
        self.has_prefix('f') && inside.contains('{')
    }

    /// Whether the inside has the string's own quote in it, so that it is two
    /// strings or a quotation rather than one string.
    pub(super) fn is_broken(&self, inside: &str) -> bool {
        let unescaped = |at| !is_escaped(&inside[..at]);
        self.quote.len() == 1
            && inside
                .match_indices(self.quote)
                .any(|(at, _)| unescaped(at))
    }

    /// What a string without an end says.
    pub(super) fn cut_short(&self, inside: &str) -> String {
        self.meaning(inside.trim_end().trim_end_matches(self.quote))
    }

    fn has_prefix(&self, letter: char) -> bool {
        self.prefix
            .chars()
            .any(|prefix| prefix.eq_ignore_ascii_case(&letter))
    }

    /// What the string says: its usual escapes are read, others stay.
    pub(super) fn meaning(&self, inside: &str) -> String {
        if self.has_prefix('r') || !inside.contains('\\') {
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
                Some(other) => meaning.extend(['\\', other]),
                None => meaning.push('\\'),
            }
        }
        meaning
    }
}

/// Whether what follows this text is escaped by its last backslash.
fn is_escaped(before: &str) -> bool {
    before
        .bytes()
        .rev()
        .take_while(|&byte| byte == b'\\')
        .count()
        % 2
        == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The inside of the literal that a text begins with.
    fn inside(text: &str) -> Option<&str> {
        let literal = Literal::at(text, 0)?;
        let (end, _) = literal.closing(text)?;
        Some(&text[literal.body..end])
    }

    #[test]
    fn a_literal_ends_at_the_quote_before_a_parenthesis() {
        let cases = [
            ("\"x\")", Some("x")),
            (" 'it's' \n)", Some("it's")),
            ("\"\"\"a \"b\"\"\"\")", Some("a \"b\"")),
            ("Rb'x')", Some("x")),
            ("'a\\')' )", Some("a\\')")),
            ("'a", None),
            ("'a' b", None),
            ("abc'x')", None),
            ("x)", None),
        ];
        for (text, expected) in cases {
            assert_eq!(inside(text), expected, "{text}");
        }
    }

    #[test]
    fn usual_escapes_are_read_and_others_stay() {
        let plain = Literal::at("\"", 0).expect("as the test wants");
        assert_eq!(plain.meaning("a\\n\\t\\\"\\\\ \\frac"), "a\n\t\"\\ \\frac");
        assert_eq!(plain.meaning("a\\\nb\\"), "ab\\");
        let raw = Literal::at("r\"", 0).expect("as the test wants");
        assert_eq!(raw.meaning("a\\n"), "a\\n");
    }
}
