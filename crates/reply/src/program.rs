//! From a fenced block's lines to the program that is run.

use crate::python::Strings;

/// The Python program of a block; none if the block is blank.
pub(crate) fn python(body: &str, indent: usize) -> Option<String> {
    let program = dedented(body, indent, true);
    filled(unprompted(&program).unwrap_or(program))
}

/// The shell commands of a block; none if the block is blank.
pub(crate) fn shell(body: &str, indent: usize) -> Option<String> {
    let script = dedented(body, indent, false);
    // A backslash carries a command over to the next line.
    let session = session(&script, "$", |before, line| {
        let more = line.strip_prefix("> ").unwrap_or(line);
        before.ends_with('\\').then_some(more)
    });
    filled(session.unwrap_or(script))
}

/// The statements of an interactive session (`>>> ` and `... ` lines); none if the text is none.
pub(crate) fn unprompted(text: &str) -> Option<String> {
    session(text, ">>>", |_, line| after_prompt(line, "..."))
}

fn filled(source: String) -> Option<String> {
    (!source.trim().is_empty()).then_some(source)
}

/// What was typed in a copied session, without the output; none if the first line has no prompt. `more`
/// gives what a line without a prompt adds to the one before.
fn session(
    text: &str,
    prompt: &str,
    more: for<'a> fn(&str, &'a str) -> Option<&'a str>,
) -> Option<String> {
    let first = text.lines().find(|line| !line.trim().is_empty())?;
    after_prompt(first, prompt)?;
    let mut typed: Vec<&str> = Vec::new();
    let mut before = None;
    for line in text.lines() {
        before = after_prompt(line, prompt).or_else(|| more(before?, line));
        typed.extend(before);
    }
    Some(typed.join("\n"))
}

/// What follows a prompt, which stands alone or before a space.
fn after_prompt<'a>(line: &'a str, prompt: &str) -> Option<&'a str> {
    let rest = line.trim_start().strip_prefix(prompt)?;
    match rest {
        "" => Some(rest),
        _ => rest.strip_prefix(' '),
    }
}

/// A block's text without the indent that its lines have in common, if its fence had one. Lines inside a
/// triple-quoted string may stand further to the left; they lose what white space they have.
fn dedented(text: &str, indent: usize, is_python: bool) -> String {
    if indent == 0 {
        return text.to_owned();
    }
    let indent_of = |line: &str| line.len() - line.trim_start_matches([' ', '\t']).len();
    let mut strings = Strings::default();
    let mut width = usize::MAX;
    for line in text.lines() {
        if strings.open().is_none() && !line.trim().is_empty() {
            width = width.min(indent_of(line));
        }
        if is_python {
            strings.read_line(line);
        }
    }
    let lines: Vec<&str> = text
        .split('\n')
        .map(|line| &line[indent_of(line).min(width)..])
        .collect();
    lines.join("\n")
}
