//! The language that a fence's info string names.

/// What a fenced block is said to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Language {
    /// Python for the REPL.
    Python,
    /// Commands for bash.
    Shell,
    /// JSON, which may be a tool call or data.
    Json,
    /// JSON that is said to be a tool call.
    ToolCall,
    /// Markdown, which may hold fences of its own.
    Markdown,
    /// Nothing is said.
    Unlabelled,
    /// Anything else; it is quoted, not run.
    Other,
}

impl Language {
    /// Reads an info string such as `python title=x`, `{python}` or `Bash`.
    pub(super) fn of(info: &str) -> Self {
        let info = info.trim();
        if info.is_empty() {
            return Self::Unlabelled;
        }
        match name(info).as_str() {
            "python" | "py" | "python3" | "py3" | "ipython" | "ipython3" | "pycon" | "repl" => {
                Self::Python
            }
            "bash" | "sh" | "shell" | "console" | "zsh" | "shell-session" | "shellsession" => {
                Self::Shell
            }
            "json" => Self::Json,
            "tool_call" | "tool_calls" | "tool" | "function_call" => Self::ToolCall,
            "markdown" | "md" => Self::Markdown,
            // A version such as `python3.12` changes nothing.
            other if other.starts_with("python3.") => Self::Python,
            _ => Self::Other,
        }
    }

    /// Whether a block of this language is run.
    pub(super) fn is_run(self) -> bool {
        matches!(self, Self::Python | Self::Shell | Self::ToolCall)
    }
}

/// The info string's first word without braces and the like, in lower case.
fn name(info: &str) -> String {
    info.trim_start_matches(['{', '.', ' '])
        .chars()
        .take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '+' | '#' | '.'))
        .flat_map(char::to_lowercase)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_labels_are_known() {
        let cases = [
            ("python", Language::Python),
            ("py", Language::Python),
            ("Python", Language::Python),
            ("python3", Language::Python),
            ("python3.12", Language::Python),
            ("repl", Language::Python),
            ("pycon", Language::Python),
            ("{python}", Language::Python),
            ("{.python .numberLines}", Language::Python),
            ("python title=x", Language::Python),
            ("python:main.py", Language::Python),
            ("python{1,3}", Language::Python),
            ("bash", Language::Shell),
            ("sh", Language::Shell),
            ("shell", Language::Shell),
            ("console", Language::Shell),
            ("json", Language::Json),
            ("tool_call", Language::ToolCall),
            ("markdown", Language::Markdown),
            ("", Language::Unlabelled),
            ("  ", Language::Unlabelled),
            ("text", Language::Other),
            ("output", Language::Other),
            ("pythonic", Language::Other),
            ("javascript", Language::Other),
            ("{}", Language::Other),
        ];
        for (info, language) in cases {
            assert_eq!(Language::of(info), language, "{info:?}");
        }
    }

    #[test]
    fn only_code_and_tool_calls_are_run() {
        assert!(Language::of("py").is_run());
        assert!(Language::of("sh").is_run());
        assert!(Language::of("tool_call").is_run());
        for quoted in ["json", "", "md", "rust"] {
            assert!(!Language::of(quoted).is_run(), "{quoted:?}");
        }
    }
}
