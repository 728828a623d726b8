//! Python strings and comments, told apart from the rest of a program line by line.

/// Follows a program. Between lines at most a triple-quoted string is open.
#[derive(Clone, Debug, Default)]
pub(crate) struct Strings {
    /// The quote character of the triple-quoted string that is open.
    open: Option<u8>,
    /// How many triple-quoted strings were opened so far.
    openings: usize,
}

impl Strings {
    /// The quote character of the triple-quoted string in which the next line begins.
    pub(crate) fn open(&self) -> Option<u8> {
        self.open
    }

    /// Names the triple-quoted string that was opened last.
    pub(crate) fn openings(&self) -> usize {
        self.openings
    }

    /// Reads one line, given without its line end. Gives the line with each string as a `"` and blanks,
    /// every byte at its place, and without a comment; none if a quote closes nothing, as the apostrophe
    /// of `don't`.
    pub(crate) fn read_line(&mut self, line: &str) -> Option<String> {
        let mut code = String::with_capacity(line.len());
        while code.len() < line.len() {
            let rest = &line[code.len()..];
            if let Some(quote) = self.open {
                let past = closing(rest.as_bytes(), quote, 3);
                blank(&mut code, past.unwrap_or(rest.len()));
                if past.is_some() {
                    self.open = None;
                }
                continue;
            }
            match rest.as_bytes() {
                [b'#', ..] => break,
                [b'\\', ..] => code.extend(rest.chars().take(2)),
                [quote @ (b'"' | b'\''), inside @ ..] => {
                    code.push('"');
                    if inside.starts_with(&[*quote; 2]) {
                        self.open = Some(*quote);
                        self.openings += 1;
                        blank(&mut code, 2);
                    } else {
                        blank(&mut code, closing(inside, *quote, 1)?);
                    }
                }
                _ => {
                    let length = rest.find(['#', '"', '\'', '\\']).unwrap_or(rest.len());
                    code.push_str(&rest[..length]);
                }
            }
        }
        Some(code)
    }
}

fn blank(code: &mut String, bytes: usize) {
    code.extend(std::iter::repeat_n(' ', bytes));
}

/// Just past the quotes that close a string whose inside begins here.
fn closing(inside: &[u8], quote: u8, quotes: usize) -> Option<usize> {
    let mut at = 0;
    while at < inside.len() {
        match inside[at] {
            b'\\' => at += 2,
            byte if byte == quote && inside[at..].starts_with(&[quote; 3][..quotes]) => {
                return Some(at + quotes);
            }
            _ => at += 1,
        }
    }
    None
}
