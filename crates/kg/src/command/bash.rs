//! Quoted texts and program names of bash commands.
//!
//! Source: the Bash Reference Manual, section 3.1 (quoting, pipelines, lists, compound commands).
//! Any text is read to its end; text that is no bash gives some parts or none.

use super::{Part, PartKind};

/// Words behind which a command begins.
const BEFORE_COMMAND: [&str; 11] = [
    "!", "{", "do", "elif", "else", "if", "sudo", "then", "time", "until", "while",
];

/// Words that begin something else than a command, and need no judging.
const NO_COMMAND: [&str; 10] = [
    "}", "[", "[[", "case", "done", "esac", "fi", "for", "function", "select",
];

/// What is judged of a bash command.
pub(super) fn parts(command: &str) -> Vec<Part> {
    let mut reader = Reader {
        command,
        at: 0,
        parts: Vec::new(),
        expects_program: true,
        outer: Vec::new(),
        here_documents: Vec::new(),
    };
    while let Some(byte) = reader.peek() {
        reader.step(byte);
    }
    reader.parts
}

struct Reader<'a> {
    command: &'a str,
    at: usize,
    parts: Vec<Part>,
    /// Whether the next word is the name of a program.
    expects_program: bool,
    /// The same, for what stands around the open parentheses.
    outer: Vec<bool>,
    /// How the here documents that begin on the next line end.
    here_documents: Vec<&'a str>,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.command.as_bytes().get(self.at).copied()
    }

    fn step(&mut self, byte: u8) {
        match byte {
            b' ' | b'\t' | b'\r' => self.at += 1,
            b'\n' => self.line_end(),
            b';' | b'&' | b'|' | b'`' => {
                self.at += 1;
                self.expects_program = true;
            }
            b'(' => {
                self.at += 1;
                self.outer.push(self.expects_program);
                self.expects_program = true;
            }
            b')' => {
                self.at += 1;
                self.expects_program = self.outer.pop().unwrap_or(true);
            }
            b'#' => self.skip_until('\n'),
            b'<' | b'>' => self.redirection(),
            _ => self.word(),
        }
    }

    fn skip_until(&mut self, end: char) {
        let rest = &self.command[self.at..];
        self.at += rest.find(end).unwrap_or(rest.len());
    }

    fn line_end(&mut self) {
        self.at += 1;
        self.expects_program = true;
        for end in std::mem::take(&mut self.here_documents) {
            while self.at < self.command.len() {
                let start = self.at;
                self.skip_until('\n');
                let is_end = self.command[start..self.at].trim() == end;
                self.at = self.command.len().min(self.at + 1);
                if is_end {
                    break;
                }
            }
        }
    }

    /// `<`, `>`, `>>`, `<<<` and a word, or `<<` and the end of a here document.
    fn redirection(&mut self) {
        let start = self.at;
        while matches!(self.peek(), Some(b'<' | b'>' | b'&' | b'-')) {
            self.at += 1;
        }
        let is_here_document = matches!(&self.command[start..self.at], "<<" | "<<-");
        while matches!(self.peek(), Some(b' ' | b'\t')) {
            self.at += 1;
        }
        let expects_program = std::mem::replace(&mut self.expects_program, false);
        let from = self.at;
        self.word();
        if is_here_document {
            let end = self.command[from..self.at].trim_matches(['\'', '"', '\\']);
            self.here_documents.push(end);
        }
        self.expects_program = expects_program;
    }

    /// A word with the quotes in it.
    fn word(&mut self) {
        let start = self.at;
        let mut is_plain = true;
        while let Some(byte) = self.peek() {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' | b';' | b'&' | b'|' | b'<' | b'>' | b'(' | b')'
                | b'`' => break,
                b'\'' => self.single_quoted(),
                b'"' => self.double_quoted(),
                b'\\' => self.skip_escape(),
                b'$' => self.at += 1,
                _ => {
                    self.at += 1;
                    continue;
                }
            }
            is_plain = false;
        }
        if self.expects_program {
            self.program(start, is_plain);
        }
    }

    /// A word where the name of a program is expected.
    fn program(&mut self, start: usize, is_plain: bool) {
        let word = &self.command[start..self.at];
        let is_assignment = word.split_once('=').is_some_and(|(name, _)| {
            !name.is_empty()
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        });
        if is_assignment || BEFORE_COMMAND.contains(&word) {
            return;
        }
        self.expects_program = false;
        if is_plain && !word.is_empty() && !word.ends_with('/') && !NO_COMMAND.contains(&word) {
            let path = word.rfind('/').map_or(0, |slash| slash + 1);
            self.parts
                .push(Part::new(PartKind::Program, start + path..self.at));
        }
    }

    fn skip_escape(&mut self) {
        let behind = self.command[self.at + 1..].chars().next();
        self.at += 1 + behind.map_or(0, char::len_utf8);
    }

    fn single_quoted(&mut self) {
        self.at += 1;
        let start = self.at;
        self.skip_until('\'');
        self.prose(start, self.at);
        self.at = self.command.len().min(self.at + 1);
    }

    /// Text in double quotes, without escapes, variables and substitutions.
    fn double_quoted(&mut self) {
        self.at += 1;
        let mut from = self.at;
        while let Some(byte) = self.peek() {
            let end = self.at;
            match byte {
                b'"' => {
                    self.at += 1;
                    self.prose(from, end);
                    return;
                }
                b'\\' => self.skip_escape(),
                b'$' => self.expansion(),
                _ => {
                    self.at += 1;
                    continue;
                }
            }
            self.prose(from, end);
            from = self.at;
        }
        self.prose(from, self.at);
    }

    /// `$name`, `${…}` or `$(…)` in double quotes.
    fn expansion(&mut self) {
        self.at += 1;
        let close = match self.peek() {
            Some(b'{') => b'}',
            Some(b'(') => b')',
            _ => {
                while self
                    .peek()
                    .is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
                {
                    self.at += 1;
                }
                return;
            }
        };
        let open = self.peek();
        let mut depth = 0_usize;
        while let Some(byte) = self.peek() {
            self.at += 1;
            if Some(byte) == open {
                depth += 1;
            } else if byte == close {
                depth -= 1;
                if depth == 0 {
                    return;
                }
            }
        }
    }

    fn prose(&mut self, start: usize, end: usize) {
        if start < end {
            self.parts.push(Part::new(PartKind::Prose, start..end));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(command: &str) -> (Vec<&str>, Vec<&str>) {
        let of = |kind| {
            let parts = parts(command)
                .into_iter()
                .filter(move |part| part.kind == kind);
            parts.map(|part| &command[part.range]).collect()
        };
        (of(PartKind::Program), of(PartKind::Prose))
    }

    #[test]
    fn programs_are_what_is_run() {
        let script = "A=1 /usr/bin/a -x b | c && d; (e f) || g $(h i) j # k\nif l; then m; fi\nfor n in o; do p q; done";
        assert_eq!(
            found(script).0,
            ["a", "c", "d", "e", "g", "h", "l", "m", "p"]
        );
        assert_eq!(found("a 2>b <c d; $x e; > f g").0, ["a", "g"]);
    }

    #[test]
    fn quoted_texts_are_language() {
        let script = r#"a "b c \"d $e ${f} $(g "h") i" 'j $k'l "#;
        assert_eq!(
            found(script),
            (vec!["a"], vec!["b c ", "d ", " ", " ", " i", "j $k"])
        );
    }

    #[test]
    fn here_documents_are_not_judged() {
        let script = "cat <<'END' > x\nfoo 'bar'\nEND\nls <<- E\n\tzip\n\tE\nmore <<< 'a b'";
        assert_eq!(
            found(script),
            (vec!["cat", "ls", "more"], vec!["END", "a b"])
        );
    }

    #[test]
    fn what_is_no_bash_is_read_to_its_end() {
        for command in [
            "'", "\"", "\"$", "\"${", "\"$(", "\\", ")", "(((", "<<", "<<\n", "<<'", "\0", "é\\é",
            "=", "`",
        ] {
            let _ = found(command);
        }
    }
}
