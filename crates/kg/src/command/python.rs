//! String literals and imports of Python code.
//!
//! Source: the Python Language Reference, sections 2.4 (literals) and 7.11 (the import statement).
//! Any text is read to its end; text that is no Python gives some parts or none.

use super::{Part, PartKind};

/// What is judged of Python code.
pub(super) fn parts(code: &str) -> Vec<Part> {
    let mut reader = Reader {
        code,
        at: 0,
        parts: Vec::new(),
    };
    reader.read();
    reader.parts
}

struct Reader<'a> {
    code: &'a str,
    at: usize,
    parts: Vec<Part>,
}

impl Reader<'_> {
    fn read(&mut self) {
        let mut begins_statement = true;
        while let Some(byte) = self.peek() {
            match byte {
                b'#' => self.skip_line(),
                b'\'' | b'"' => self.literal(false),
                b'\\' => self.skip_escape(),
                _ if is_name_byte(byte) => self.name(begins_statement),
                _ => self.at += 1,
            }
            begins_statement = match byte {
                b'\n' | b';' | b':' => true,
                b' ' | b'\t' | b'\r' | b'#' => begins_statement,
                _ => false,
            };
        }
    }

    fn peek(&self) -> Option<u8> {
        self.code.as_bytes().get(self.at).copied()
    }

    fn skip_line(&mut self) {
        let rest = &self.code[self.at..];
        self.at += rest.find('\n').unwrap_or(rest.len());
    }

    /// A backslash and the character behind it.
    fn skip_escape(&mut self) {
        let behind = self.code[self.at + 1..].chars().next();
        self.at += 1 + behind.map_or(0, char::len_utf8);
    }

    fn skip_spaces(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t')) {
            self.at += 1;
        }
    }

    /// Takes a name, which may be empty.
    fn take_name(&mut self) -> std::ops::Range<usize> {
        let start = self.at;
        while self.peek().is_some_and(is_name_byte) {
            self.at += 1;
        }
        start..self.at
    }

    fn name(&mut self, begins_statement: bool) {
        let range = self.take_name();
        let name = &self.code[range];
        let is_prefix = name.len() <= 2 && name.bytes().all(|byte| b"rRbBuUfFtT".contains(&byte));
        if is_prefix && matches!(self.peek(), Some(b'\'' | b'"')) {
            let formatted = name.contains(['f', 'F', 't', 'T']);
            self.literal(formatted);
        } else if begins_statement && name == "import" {
            self.imports();
        } else if begins_statement && name == "from" {
            self.module();
        }
    }

    /// `a.b as c, d`
    fn imports(&mut self) {
        loop {
            self.module();
            self.skip_spaces();
            if self.code.as_bytes()[self.at..].starts_with(b"as ") {
                self.at += 3;
                self.skip_spaces();
                self.take_name();
                self.skip_spaces();
            }
            if self.peek() != Some(b',') {
                return;
            }
            self.at += 1;
        }
    }

    /// `a.b`, of which `a` counts; nothing of `.b`, which is the program's own.
    fn module(&mut self) {
        self.skip_spaces();
        let root = self.take_name();
        if !root.is_empty() {
            self.parts.push(Part::new(PartKind::Module, root));
        }
        while self.peek() == Some(b'.') {
            self.at += 1;
            self.take_name();
        }
    }

    fn literal(&mut self, formatted: bool) {
        let Some(quote) = self.peek() else { return };
        let triple = self.code.as_bytes()[self.at..].starts_with(&[quote; 3]);
        self.at += if triple { 3 } else { 1 };
        let closing = &[quote; 3][..if triple { 3 } else { 1 }];
        let mut from = self.at;
        while let Some(byte) = self.peek() {
            let end = self.at;
            if self.code.as_bytes()[end..].starts_with(closing) {
                self.at += closing.len();
                self.prose(from, end);
                return;
            }
            if byte == b'\n' && !triple {
                self.prose(from, end);
                return;
            }
            if byte == b'\\' {
                self.skip_escape();
            } else if formatted && self.code.as_bytes()[end..].starts_with(b"{{") {
                self.at += 2;
            } else if formatted && byte == b'{' {
                self.skip_expression(triple);
            } else {
                self.at += 1;
                continue;
            }
            self.prose(from, end);
            from = self.at;
        }
        self.prose(from, self.at);
    }

    /// `{…}` in a formatted literal. One that does not end takes the rest of its line, or of the
    /// code if the literal may have many lines.
    fn skip_expression(&mut self, triple: bool) {
        let mut depth = 0_usize;
        while let Some(byte) = self.peek() {
            match byte {
                b'{' => depth += 1,
                b'}' => depth -= 1,
                b'\n' if !triple => return,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return;
            }
        }
    }

    fn prose(&mut self, start: usize, end: usize) {
        if start < end {
            self.parts.push(Part::new(PartKind::Prose, start..end));
        }
    }
}

/// Whether a byte is part of a name; every character beyond ASCII counts as one.
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(code: &str) -> Vec<&str> {
        parts(code)
            .into_iter()
            .map(|part| &code[part.range])
            .collect()
    }

    #[test]
    fn literals_are_read() {
        assert_eq!(
            found("x = 'a b' + \"c'd\" # 'no'\ny = '''e\n'f''' "),
            ["a b", "c'd", "e\n'f"]
        );
        assert_eq!(found(r"r'a\'b' 'c\nd' rb'é\é'"), ["a", "b", "c", "d", "é"]);
        assert_eq!(found("f'{{a}} {b}'"), ["a}} "]);
        assert_eq!(found("f'a {x[\"k\"]:>{w}} b' '{c}'"), ["a ", " b", "{c}"]);
    }

    #[test]
    fn imports_are_read() {
        let code = "import a.b as c, d\nfrom e.f import g\nfrom . import h\nx = 1; import i\nyield_from = important";
        assert_eq!(found(code), ["a", "d", "e", "i"]);
        assert_eq!(found("if x: import a"), ["a"]);
        assert!(found("def f():\n    yield from g\n    raise E from err").is_empty());
    }

    #[test]
    fn what_is_no_python_is_read_to_its_end() {
        for code in [
            "'",
            "'''",
            "f'{",
            "f'''{\n",
            "'\\",
            "import",
            "import ,",
            "from",
            "f'}'",
            "\\",
            "\0",
            "é'é",
            "f'é{é}é'",
        ] {
            let _ = found(code);
        }
    }
}
