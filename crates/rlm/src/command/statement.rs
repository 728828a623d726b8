//! What kind of Python statement a logical line's tokens are, if any.

use super::tokens::Token;

/// A function name no longer than this is a formula's, such as `f(x)`.
const FORMULA_NAME: usize = 1;

/// How much a statement says that its text is meant as code.
///
/// The order is that of the strength of what is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// An expression such as `result`: code only below other code.
    Echo,
    /// A statement that prose could hold, too: `return x`, `f(x)`, `@cache`.
    Weak,
    /// `FINAL(x)`: code below other code, else a final answer.
    FinalCall,
    /// An assignment that could be a formula: `x = 5`.
    Assignment,
    /// A statement that is plainly code.
    Strong,
}

/// The kind of a logical line; none if it is not Python.
pub(super) fn kind(tokens: &[Token<'_>]) -> Option<Kind> {
    tokens
        .split(|token| *token == Token::Mark(b';'))
        .filter(|part| !part.is_empty())
        .map(compound_kind)
        .try_fold(Kind::Echo, |strongest, kind| Some(strongest.max(kind?)))
}

/// Whether an indented block has to follow.
pub(super) fn opens_block(tokens: &[Token<'_>]) -> bool {
    tokens.last() == Some(&Token::Mark(b':'))
}

/// The kind of one statement, which may have a body behind a colon.
fn compound_kind(tokens: &[Token<'_>]) -> Option<Kind> {
    let Some(Token::Name(word)) = tokens.first() else {
        return simple_kind(tokens);
    };
    let has = |wanted| tokens[1..].contains(&Token::Name(wanted));
    let fits = match *word {
        "def" | "class" | "while" | "if" | "elif" | "with" | "except" | "match" | "case" => true,
        "for" => has("in"),
        "async" => has("def") || has("with") || has("for"),
        "else" | "try" | "finally" => tokens.get(1) == Some(&Token::Mark(b':')),
        _ => return simple_kind(tokens),
    };
    let colon = tokens
        .iter()
        .position(|token| *token == Token::Mark(b':'))?;
    let body = &tokens[colon + 1..];
    // A definition's annotations have colons only inside its parentheses; after
    // the header's colon stands nothing or a statement that is one by itself.
    let body_fits = body.is_empty() || simple_kind(body)? > Kind::Echo;
    (fits && body_fits).then_some(Kind::Strong)
}

/// The kind of a statement without a body.
fn simple_kind(tokens: &[Token<'_>]) -> Option<Kind> {
    // A full stop at the end is a sentence's.
    if tokens.last() == Some(&Token::Mark(b'.')) {
        return None;
    }
    match tokens.first()? {
        Token::Name("import") => is_import(&tokens[1..]).then_some(Kind::Strong),
        Token::Name("from") => is_from_import(tokens).then_some(Kind::Strong),
        Token::Name("pass" | "break" | "continue") => (tokens.len() == 1).then_some(Kind::Weak),
        Token::Name("return" | "raise" | "del" | "assert" | "global" | "nonlocal" | "yield") => {
            Some(Kind::Weak)
        }
        Token::Name("await") => call_kind(&tokens[1..]),
        Token::Name(
            "as" | "and" | "or" | "in" | "is" | "else" | "except" | "finally" | "try" | "if"
            | "elif" | "for" | "while" | "with" | "def" | "class" | "async",
        ) => None,
        Token::Mark(b'@') => Some(Kind::Weak),
        _ => assignment_kind(tokens)
            .or_else(|| call_kind(tokens))
            .or_else(|| is_echo(tokens).then_some(Kind::Echo)),
    }
}

/// `re`, `os.path as p, sys`.
fn is_import(names: &[Token<'_>]) -> bool {
    !names.is_empty()
        && names
            .iter()
            .all(|token| matches!(token, Token::Name(_) | Token::Mark(b'.' | b',')))
}

/// `from os.path import join`, `from . import x`, `from x import (a, b)`.
fn is_from_import(tokens: &[Token<'_>]) -> bool {
    let import = tokens
        .iter()
        .position(|token| *token == Token::Name("import"));
    import.is_some_and(|at| at > 1 && at + 1 < tokens.len())
}

/// An assignment to names, attributes or items.
fn assignment_kind(tokens: &[Token<'_>]) -> Option<Kind> {
    let at = tokens.iter().position(|token| *token == Token::Assign)?;
    let (targets, value) = (&tokens[..at], &tokens[at + 1..]);
    let is_target = |token: &Token<'_>| {
        matches!(
            token,
            Token::Name(_) | Token::Group { .. } | Token::Mark(b'.' | b',' | b'*' | b':')
        )
    };
    // `this is x = f(5)`: no keyword stands among targets.
    let in_words = targets
        .windows(2)
        .any(|pair| matches!(pair, [Token::Name(_), Token::Name(_)]));
    if value.is_empty() || in_words || !targets.iter().all(is_target) {
        return None;
    }
    // `Note: x = (1)` is read as an annotation by Python, but not by people.
    let annotated = targets.contains(&Token::Mark(b':'));
    let structured = |token: &Token<'_>| matches!(token, Token::Group { .. } | Token::Text);
    let rich = targets.iter().chain(value).any(structured);
    Some(if rich && !annotated {
        Kind::Strong
    } else {
        Kind::Assignment
    })
}

/// A call such as `print(x)` or `rows.sort(key=f)`, and nothing else.
fn call_kind(tokens: &[Token<'_>]) -> Option<Kind> {
    let Token::Name(name) = tokens.first()? else {
        return None;
    };
    // A name belongs to the call only behind a dot, not behind `and` or `is`.
    let is_part = |pair: &[Token<'_>]| match pair[1] {
        Token::Name(_) => pair[0] == Token::Mark(b'.'),
        Token::Mark(mark) => mark == b'.',
        Token::Group { attached, .. } => attached,
        Token::Number | Token::Text | Token::Assign => false,
    };
    let ends_in_call = matches!(
        tokens.last()?,
        Token::Group {
            bracket: b'(',
            attached: true
        }
    );
    if !ends_in_call || !tokens.windows(2).all(is_part) {
        return None;
    }
    let plain = tokens.len() == 2;
    Some(match *name {
        "FINAL" | "FINAL_VAR" if plain => Kind::FinalCall,
        // `O(n)`, `f(x)` and `Mercury(II)` are notation more often than code.
        _ if plain && (name.len() <= FORMULA_NAME || starts_upper(name)) => Kind::Weak,
        _ => Kind::Strong,
    })
}

/// An expression that a REPL would show, as far as prose does not look like it.
fn is_echo(tokens: &[Token<'_>]) -> bool {
    // `see (this)`: people put a space before a parenthesis, programs do not.
    let aside = matches!(
        tokens.get(1),
        Some(Token::Group {
            attached: false,
            ..
        })
    );
    match tokens[0] {
        Token::Name(name) => !starts_upper(name) && !aside,
        Token::Group { .. } | Token::Text => true,
        Token::Number | Token::Assign | Token::Mark(_) => false,
    }
}

fn starts_upper(name: &str) -> bool {
    name.chars().next().is_some_and(char::is_uppercase)
}

#[cfg(test)]
mod tests {
    use super::super::tokens::Tokens;
    use super::*;

    fn kind_of(line: &str) -> Option<Kind> {
        let mut tokens = Tokens::default();
        tokens.read_line(line).ok()?;
        kind(&tokens.list)
    }

    #[test]
    fn code_is_told_by_its_statements() {
        let lines = [
            "import re, os.path as p",
            "from collections import Counter",
            "def f(x: int) -> str:",
            "class A(B):",
            "for i, line in enumerate(lines):",
            "while True:",
            "if not x: print(y)",
            "else:",
            "with open(p) as f:",
            "async def f():",
            "await llm_query('x')",
            "print(len(context))",
            "rows[0].sort(key=len)",
            "n = len(context)",
            "a, b = f(x)",
            "answer[\"ready\"] = True",
            "parts += ['x']",
            "import re; x = 1",
            "match x:",
        ];
        for line in lines {
            assert_eq!(kind_of(line), Some(Kind::Strong), "{line}");
        }
    }

    #[test]
    fn what_prose_may_hold_too_says_less() {
        let cases = [
            ("x = 5", Kind::Assignment),
            ("E = m * c", Kind::Assignment),
            ("Note: x = (3)", Kind::Assignment),
            ("FINAL(x)", Kind::FinalCall),
            ("FINAL_VAR('x')", Kind::FinalCall),
            ("return x", Kind::Weak),
            ("O(n)", Kind::Weak),
            ("Mercury(II)", Kind::Weak),
            ("result", Kind::Echo),
            ("x + 1", Kind::Echo),
            ("f(x) and g(y)", Kind::Echo),
            ("'text'", Kind::Echo),
        ];
        for (line, kind) in cases {
            assert_eq!(kind_of(line), Some(kind), "{line}");
        }
    }

    #[test]
    fn prose_is_no_statement() {
        let lines = [
            "Done",
            "Done.",
            "42",
            "Yes, sure",
            "if so: great",
            "for example:",
            "while we wait",
            "from here on",
            "import.",
            "Answer: 42",
            "Here is the code:",
            "- item",
            "1. print",
            "see (this)",
            "This is x = f(5)",
            "Yes(x) and no(y)",
            "and so",
        ];
        for line in lines {
            assert_eq!(kind_of(line), None, "{line}");
        }
    }
}
