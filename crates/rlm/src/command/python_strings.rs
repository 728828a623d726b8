//! Which lines of a Python text stand inside a triple-quoted string.
//!
//! Only strings and comments are told apart from the rest; that is all that is
//! needed to know whether a fence line is Python text or the block's end.

/// Follows a Python text line by line.
#[derive(Clone, Debug, Default)]
pub(super) struct PythonStrings {
    /// The quote character of the triple-quoted string that is open.
    open: Option<u8>,
    /// How many triple-quoted strings were opened so far.
    openings: usize,
}

impl PythonStrings {
    /// The quote character of the triple-quoted string in which the next line begins.
    pub(super) fn open(&self) -> Option<u8> {
        self.open
    }

    /// How many triple-quoted strings were opened so far.
    pub(super) fn openings(&self) -> usize {
        self.openings
    }

    /// Reads one line, given without its line end.
    pub(super) fn read_line(&mut self, line: &str) {
        let bytes = line.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            at = match self.open {
                Some(quote) => self.inside(bytes, at, quote),
                None => self.outside(bytes, at),
            };
        }
    }

    fn inside(&mut self, bytes: &[u8], at: usize, quote: u8) -> usize {
        if bytes[at] == b'\\' {
            return at + 2;
        }
        if is_triple(bytes, at, quote) {
            self.open = None;
            return at + 3;
        }
        at + 1
    }

    fn outside(&mut self, bytes: &[u8], at: usize) -> usize {
        match bytes[at] {
            b'#' => bytes.len(),
            b'\\' => at + 2,
            quote @ (b'"' | b'\'') if is_triple(bytes, at, quote) => {
                self.open = Some(quote);
                self.openings += 1;
                at + 3
            }
            quote @ (b'"' | b'\'') => short_string_end(bytes, at + 1, quote).unwrap_or(bytes.len()),
            _ => at + 1,
        }
    }
}

/// Whether three of the quote characters stand here.
pub(super) fn is_triple(bytes: &[u8], at: usize, quote: u8) -> bool {
    bytes.len() >= at + 3 && bytes[at..at + 3].iter().all(|&byte| byte == quote)
}

/// Just past the closing quote of a one-line string whose inside begins here.
pub(super) fn short_string_end(bytes: &[u8], from: usize, quote: u8) -> Option<usize> {
    let mut at = from;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            byte if byte == quote => return Some(at + 1),
            _ => at += 1,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open_after(text: &str) -> Option<char> {
        let mut strings = PythonStrings::default();
        text.lines().for_each(|line| strings.read_line(line));
        strings.open().map(char::from)
    }

    #[test]
    fn a_string_is_open_until_its_own_quotes_close_it() {
        let cases = [
            ("x = 1", None),
            ("x = \"\"\"", Some('"')),
            ("x = '''a\nb", Some('\'')),
            ("x = \"\"\"a\n'''\nb", Some('"')),
            ("x = \"\"\"a\"\"\"", None),
            ("x = \"\"\"a\n\"\"\" + '''", Some('\'')),
            ("x = \"\"\"a \\\"\"\" b", Some('"')),
            ("x = f\"\"\"{a}\n", Some('"')),
        ];
        for (text, open) in cases {
            assert_eq!(open_after(text), open, "{text}");
        }
    }

    #[test]
    fn quotes_in_comments_and_short_strings_open_nothing() {
        for text in [
            "# \"\"\"",
            "x = '\"\"\"'",
            "x = \"'''\"",
            "x = '\\'\"\"\"'",
            "don't # '''",
        ] {
            assert_eq!(open_after(text), None, "{text}");
        }
    }

    #[test]
    fn openings_are_counted() {
        let mut strings = PythonStrings::default();
        strings.read_line("a = '''x''' + \"\"\"y");
        assert_eq!(strings.openings(), 2);
    }
}
