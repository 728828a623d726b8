//! From a fenced block's lines to the program that is run.

use super::python_strings::PythonStrings;

/// What a doctest's statement and its further lines begin with.
const PROMPT: &str = ">>>";
const CONTINUATION: &str = "...";

/// What a command begins with in a copied shell session.
const SHELL_PROMPT: &str = "$ ";

/// The Python program of a block; none if the block is blank.
pub(super) fn python(body: &str, indent: usize) -> Option<String> {
    let program = match indent {
        0 => body.to_owned(),
        _ => dedented(body, &inside_strings(body)),
    };
    filled(unprompted(&program).unwrap_or(program))
}

/// The shell commands of a block; none if the block is blank.
pub(super) fn shell(body: &str, indent: usize) -> Option<String> {
    let script = match indent {
        0 => body.to_owned(),
        _ => dedented(body, &[]),
    };
    filled(session_commands(&script).unwrap_or(script))
}

fn filled(source: String) -> Option<String> {
    (!source.trim().is_empty()).then_some(source)
}

/// The statements of an interactive session (`>>> ` and `... ` lines) without
/// the prompts and the output; none if the text is no such session.
pub(super) fn unprompted(text: &str) -> Option<String> {
    let first = text.lines().find(|line| !line.trim().is_empty())?;
    after_prompt(first, PROMPT)?;
    let mut statements = Vec::new();
    let mut in_statement = false;
    for line in text.lines() {
        let statement = match after_prompt(line, PROMPT) {
            None if in_statement => after_prompt(line, CONTINUATION),
            statement => statement,
        };
        in_statement = statement.is_some();
        statements.extend(statement);
    }
    Some(statements.join("\n"))
}

/// What follows a prompt, which stands alone or before a space.
fn after_prompt<'a>(line: &'a str, prompt: &str) -> Option<&'a str> {
    let rest = line.trim_start().strip_prefix(prompt)?;
    if rest.is_empty() {
        Some(rest)
    } else {
        rest.strip_prefix(' ')
    }
}

/// The commands of a shell session whose lines begin with `$ `, without the
/// output between them; none if the text is no such session.
fn session_commands(script: &str) -> Option<String> {
    let first = script.lines().find(|line| !line.trim().is_empty())?;
    first.strip_prefix(SHELL_PROMPT)?;
    let mut commands = Vec::new();
    let mut continued = false;
    for line in script.lines() {
        let command = match line.strip_prefix(SHELL_PROMPT) {
            // A backslash carries the command over to the next line.
            None if continued => Some(line.strip_prefix("> ").unwrap_or(line)),
            command => command,
        };
        continued = command.is_some_and(|command| command.ends_with('\\'));
        commands.extend(command);
    }
    Some(commands.join("\n"))
}

/// The text without the indent that its lines have in common.
///
/// Lines marked as inside a string may stand further to the left; they then
/// lose what white space they have.
fn dedented(text: &str, inside_string: &[bool]) -> String {
    let width = text
        .lines()
        .enumerate()
        .filter(|(number, line)| {
            !line.trim().is_empty() && !inside_string.get(*number).is_some_and(|&inside| inside)
        })
        .map(|(_, line)| indent_of(line))
        .min()
        .unwrap_or(0);
    let lines: Vec<&str> = text
        .split('\n')
        .map(|line| &line[indent_of(line).min(width)..])
        .collect();
    lines.join("\n")
}

fn indent_of(line: &str) -> usize {
    line.bytes()
        .take_while(|byte| matches!(byte, b' ' | b'\t'))
        .count()
}

/// For each line whether it begins inside a triple-quoted string.
fn inside_strings(program: &str) -> Vec<bool> {
    let mut strings = PythonStrings::default();
    program
        .lines()
        .map(|line| {
            let inside = strings.open().is_some();
            strings.read_line(line);
            inside
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_at_the_margin_is_taken_as_it_stands() {
        let program = "  x = 1\n\nif x:\n\tprint(x)  \n";
        assert_eq!(python(program, 0).as_deref(), Some(program));
        assert_eq!(shell("ls  \n", 0).as_deref(), Some("ls  \n"));
    }

    #[test]
    fn a_blank_block_is_no_program() {
        for body in ["", "\n", "   \n\t", ">>>", ">>> \n"] {
            assert_eq!(python(body, 0), None, "{body:?}");
        }
        assert_eq!(shell(" \n ", 2), None);
    }

    #[test]
    fn a_block_in_a_list_loses_the_common_indent() {
        assert_eq!(
            python("    for x in y:\n        print(x)\n\n    z()", 4).as_deref(),
            Some("for x in y:\n    print(x)\n\nz()")
        );
        assert_eq!(shell("   ls\n   pwd", 3).as_deref(), Some("ls\npwd"));
        assert_eq!(
            python("      # deep\n    a()", 2).as_deref(),
            Some("  # deep\na()")
        );
    }

    #[test]
    fn a_string_at_the_margin_does_not_keep_the_program_indented() {
        assert_eq!(
            python("    x = '''\na\n      b'''\n    y()", 4).as_deref(),
            Some("x = '''\na\n  b'''\ny()")
        );
    }

    #[test]
    fn a_copied_python_session_is_run_without_its_prompts_and_output() {
        let session = "\n>>> def f(x):\n...     return x\n...\n>>> f(1)\n1\n... not this\n>>>\n";
        assert_eq!(
            python(session, 0).as_deref(),
            Some("def f(x):\n    return x\n\nf(1)\n")
        );
        assert_eq!(unprompted("x = 1\n>>> y"), None);
        assert_eq!(unprompted(">>>x"), None);
    }

    #[test]
    fn a_copied_shell_session_is_run_without_its_output() {
        let session = "$ ls -la\ntotal 0\n$ echo a \\\n> b\nab\n$ pwd";
        assert_eq!(
            shell(session, 0).as_deref(),
            Some("ls -la\necho a \\\nb\npwd")
        );
        let script = "echo 1\n$ not a session";
        assert_eq!(shell(script, 0).as_deref(), Some(script));
    }
}
