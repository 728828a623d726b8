//! Whether a line is a Python statement, and how plainly.

use crate::python::Strings;

/// The words beside which names may stand.
const KEYWORDS: &str = "and as assert async await break case class continue def del elif else except \
finally for from global if import in is lambda match nonlocal not or pass raise return try while with \
yield";

/// How much a statement says that its text is meant as code, in rising order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// What prose could hold, too: `result`, `return x`, `f(x)`. Code only below other code.
    Weak,
    /// `FINAL(x)`: code below an assignment, else a final answer.
    FinalCall,
    /// An assignment that could be a formula (`x = 5`), or a decorator.
    Opening,
    /// A statement that is plainly code.
    Strong,
}

/// A logical line: a statement, which runs over several lines while a bracket or a triple-quoted string
/// is open, or after a backslash.
#[derive(Debug, Default)]
pub(crate) struct Statement {
    strings: Strings,
    brackets: Vec<char>,
    is_continued: bool,
    /// Whether the token before is a string, if it is a value: only strings may follow one another.
    value_is_text: Option<bool>,
    /// What stands outside brackets, each string as a `"`.
    outside: String,
}

impl Statement {
    /// Whether it goes on in the next line.
    pub(crate) fn is_open(&self) -> bool {
        self.is_continued || self.strings.open().is_some() || !self.brackets.is_empty()
    }

    /// Whether there is nothing but comments.
    pub(crate) fn is_empty(&self) -> bool {
        self.outside.trim().is_empty()
    }

    /// Whether an indented block has to follow.
    pub(crate) fn opens_block(&self) -> bool {
        self.outside.trim_end().ends_with(':')
    }

    /// What it is; none if it is not Python.
    pub(crate) fn kind(&self) -> Option<Kind> {
        let parts = self.outside.split(';').map(str::trim);
        let mut kinds = parts.filter(|part| !part.is_empty()).map(kind);
        kinds.try_fold(Kind::Weak, |most, kind| Some(most.max(kind?)))
    }

    /// Adds the next line. None if that is not Python: two names stand side by side (`the file`), or
    /// there is a character that Python does not know.
    pub(crate) fn read_line(&mut self, line: &str) -> Option<()> {
        let code = self.strings.read_line(line)?;
        let code = code.trim_end();
        self.is_continued = code.ends_with('\\');
        let mut rest = code.strip_suffix('\\').unwrap_or(code);
        while let Some(first) = rest.chars().next() {
            let length = if is_word(first) {
                let is_in = |c| is_word(c) || (c == '.' && first.is_ascii_digit());
                rest.find(|c| !is_in(c)).unwrap_or(rest.len())
            } else {
                first.len_utf8()
            };
            let (token, after) = rest.split_at(length);
            rest = after;
            self.add(token, after)?;
        }
        Some(())
    }

    /// Takes in a word or a character, if it may stand between what was before and `after`.
    fn add(&mut self, token: &str, after: &str) -> Option<()> {
        let is_outside = self.brackets.is_empty();
        let mut value = None;
        match token {
            " " | "\t" => value = self.value_is_text,
            "\"" => value = Some(true),
            "(" | "[" => self.brackets.extend(token.chars()),
            "{" if self.value_is_text.is_none() => self.brackets.push('{'),
            ")" | "]" | "}" => {
                let pair = [self.brackets.pop()?.to_string().as_str(), token].concat();
                if !["()", "[]", "{}"].contains(&pair.as_str()) {
                    return None;
                }
                value = Some(false);
            }
            "!" if after.starts_with('=') => {}
            "!" | "?" | "$" | "`" | "\\" | "{" => return None,
            _ if token.starts_with(is_word) => {
                let is_prefix = token.len() <= 2 && token.chars().all(|c| "rRbBfFuU".contains(c));
                if is_prefix && after.starts_with('"') {
                    return Some(());
                }
                value = (!is_keyword(token)).then_some(false);
            }
            _ if token.starts_with(|c: char| c.is_ascii_punctuation()) => {}
            _ => return None,
        }
        if let (Some(before), Some(text), true) = (self.value_is_text, value, is_value(token))
            && !(before && text)
        {
            return None;
        }
        self.value_is_text = value;
        if is_outside || self.brackets.is_empty() {
            self.outside.push_str(token);
        }
        Some(())
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether a token begins a value.
fn is_value(token: &str) -> bool {
    token == "\"" || token.starts_with(is_word)
}

fn is_keyword(name: &str) -> bool {
    KEYWORDS.split(' ').any(|word| word == name)
}

/// A statement's first word, and what follows it.
fn first_word(line: &str) -> (&str, &str) {
    line.split_at(line.find(|c| !is_word(c)).unwrap_or(line.len()))
}

/// The kind of one statement; what stands in brackets is left out of it.
fn kind(line: &str) -> Option<Kind> {
    let (word, rest) = first_word(line);
    let is_header = match word {
        "def" | "class" | "while" | "if" | "elif" | "with" | "except" | "match" | "case" => true,
        "for" => rest.contains(" in "),
        "async" => ["def", "with", "for"].contains(&first_word(rest.trim_start()).0),
        "else" | "try" | "finally" => rest.starts_with(':'),
        "import" => rest.chars().all(|c| is_word(c) || "., ".contains(c)),
        "from" => rest.contains(" import "),
        _ => false,
    };
    let is_import = matches!(word, "import" | "from");
    // `if so: great` is no statement; `if x: print(y)` is.
    let has_body = line.ends_with(':') || (line.contains(':') && line.ends_with(')'));
    match word {
        // A full stop at the end is a sentence's.
        _ if line.ends_with('.') && !line.ends_with("...") => None,
        _ if is_header && (is_import || has_body) => Some(Kind::Strong),
        "return" | "raise" | "del" | "assert" | "global" | "nonlocal" | "yield" | "pass"
        | "break" | "continue" | "not" | "lambda" => Some(Kind::Weak),
        "await" => kind(rest.trim_start()).filter(|_| line.ends_with(')')),
        _ if is_keyword(word) => None,
        "" if line.starts_with('@') => Some(Kind::Opening),
        _ => assignment(line).or_else(|| call(line)).or_else(|| {
            // `see (this)`: people put a space before a parenthesis, programs do not.
            let is_value = line.starts_with(['"', '(', '[', '{'])
                || (word.starts_with(|c: char| !c.is_uppercase() && !c.is_numeric())
                    && !rest.starts_with(" ("));
            is_value.then_some(Kind::Weak)
        }),
    }
}

/// An assignment to names, attributes or items.
fn assignment(line: &str) -> Option<Kind> {
    let (targets, value) = line.split_once('=')?;
    let targets = targets.trim_end_matches(['+', '-', '*', '/', '%', '&', '|', '^', '@']);
    // `this is x = f(5)` is a sentence, and `Note: x = (1)` an annotation for Python only.
    let targets = targets.trim_end().replace(", ", ",");
    let are_targets = targets.chars().all(|c| is_word(c) || ".,*()[]".contains(c));
    if !are_targets || value.starts_with('=') || value.trim().is_empty() {
        return None;
    }
    Some(if line.contains(['(', '[', '{', '"']) {
        Kind::Strong
    } else {
        Kind::Opening
    })
}

/// A call such as `print(x)` or `rows.sort(key=f)`, and nothing else.
fn call(line: &str) -> Option<Kind> {
    let (name, rest) = first_word(line);
    let is_call = rest.ends_with("()") && rest.chars().all(|c| is_word(c) || ".()[]".contains(c));
    Some(match name {
        _ if name.is_empty() || !is_call => return None,
        "FINAL" | "FINAL_VAR" => Kind::FinalCall,
        // `O(n)`, `f(x)` and `Mercury(II)` are notation more often than code.
        _ if rest == "()" && (name.len() == 1 || name.starts_with(char::is_uppercase)) => {
            Kind::Weak
        }
        _ => Kind::Strong,
    })
}
