//! The tools that a JSON tool call may name.

use serde_json::{Map, Value};

use super::correction::{Correction, excerpt};
use super::variable::is_identifier;
use super::{BashCommand, Command, LlmQuery, PythonCode};

/// The tools there are, for corrections.
pub(super) const TOOLS: &str = "python(code), bash(command), final(answer), FINAL_VAR(name), \
query_llm(prompt), snapshot(name) and rollback(name)";

/// The tools, by what is done with the argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tool {
    Python,
    Bash,
    Final,
    FinalVariable,
    QueryLlm,
    Snapshot,
    Rollback,
}

impl Tool {
    /// The tool of a name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name.trim().to_ascii_lowercase().as_str() {
            "python" | "code" | "execute_code" | "run_python" | "rlm_code" | "repl" => Self::Python,
            "bash" | "shell" | "execute_command" | "run" | "rlm_bash" => Self::Bash,
            "final" | "final_answer" | "answer" | "submit" => Self::Final,
            "final_var" => Self::FinalVariable,
            "query_llm" | "llm_query" => Self::QueryLlm,
            "snapshot" => Self::Snapshot,
            "rollback" => Self::Rollback,
            _ => return None,
        })
    }

    /// The keys under which a tool's argument may be given, the usual one first.
    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Python => &["code", "source", "python", "script", "input"],
            Self::Bash => &["command", "cmd", "code", "script"],
            Self::Final => &["answer", "content", "text", "result", "value"],
            Self::FinalVariable => &["name", "variable", "var"],
            Self::QueryLlm => &["prompt", "query"],
            Self::Snapshot => &["name"],
            Self::Rollback => &["name", "id"],
        }
    }

    /// A tool's argument; none if it is missing, blank or of a wrong type.
    pub(super) fn argument(self, arguments: &Map<String, Value>) -> Option<String> {
        let value = self.keys().iter().find_map(|key| arguments.get(*key))?;
        let text = match (self, value) {
            (_, Value::String(text)) => text.clone(),
            (Self::Final, value) if !value.is_null() => value.to_string(),
            (Self::Snapshot | Self::Rollback, Value::Number(number)) => number.to_string(),
            _ => return None,
        };
        (!text.trim().is_empty()).then_some(text)
    }

    /// The command that calls the tool.
    pub(super) fn command(self, name: &str, argument: String) -> Result<Command, Correction> {
        Ok(match self {
            Self::Python => Command::Code(PythonCode { source: argument }),
            Self::Bash => Command::Run(BashCommand { source: argument }),
            Self::Final => Command::Final(argument),
            Self::FinalVariable if is_identifier(&argument) => Command::FinalVariable(argument),
            Self::FinalVariable => {
                return Err(Correction::new(format!(
                    "The tool \"{name}\" takes the name of one REPL variable, not \"{}\". Store the \
                     answer in a variable and give that variable's name.",
                    excerpt(&argument)
                )));
            }
            Self::QueryLlm => Command::QueryLlm(LlmQuery { prompt: argument }),
            Self::Snapshot => Command::Snapshot(argument),
            Self::Rollback => Command::Rollback(argument),
        })
    }

    /// Says that the argument is missing.
    pub(super) fn lacks_argument(self, name: &str) -> Correction {
        let usual = self.keys()[0];
        Correction::new(format!(
            "The call of the tool \"{}\" lacks its argument, or it is empty or no string. Write \
             {{\"name\": \"{0}\", \"arguments\": {{\"{usual}\": \"...\"}}}}. The argument may be \
             called {}.",
            excerpt(name),
            self.keys().join(", ")
        ))
    }
}

/// Says that there is no such tool.
pub(super) fn unknown(name: &str) -> Correction {
    Correction::new(format!(
        "There is no tool \"{}\". The tools are {TOOLS}. Write {{\"name\": \"python\", \
         \"arguments\": {{\"code\": \"...\"}}}} or the like.",
        excerpt(name)
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The command of a tool of this name, called with these arguments.
    fn called(name: &str, arguments: &Value) -> Option<Command> {
        let tool = Tool::named(name)?;
        let argument = tool.argument(arguments.as_object()?)?;
        tool.command(name, argument).ok()
    }

    #[test]
    fn every_tool_has_its_command() {
        let run = Command::Run(BashCommand {
            source: "ls".into(),
        });
        let code = Command::Code(PythonCode { source: "x".into() });
        let query = Command::QueryLlm(LlmQuery { prompt: "q".into() });
        let cases = [
            ("bash", json!({"cmd": "ls"}), run.clone()),
            ("run", json!({"command": "ls"}), run),
            ("rlm_code", json!({"source": "x"}), code.clone()),
            ("repl", json!({"input": "x"}), code),
            ("FINAL", json!({"answer": "a"}), Command::Final("a".into())),
            (
                "submit",
                json!({"value": [1, 2]}),
                Command::Final("[1,2]".into()),
            ),
            (
                "final_answer",
                json!({"result": 42}),
                Command::Final("42".into()),
            ),
            (
                "FINAL_VAR",
                json!({"variable": "x"}),
                Command::FinalVariable("x".into()),
            ),
            ("llm_query", json!({"query": "q"}), query),
            (
                "snapshot",
                json!({"name": "s"}),
                Command::Snapshot("s".into()),
            ),
            ("rollback", json!({"id": 7}), Command::Rollback("7".into())),
        ];
        for (name, arguments, command) in cases {
            assert_eq!(called(name, &arguments), Some(command), "{name}");
        }
    }

    #[test]
    fn an_argument_that_is_blank_or_of_another_type_is_missing() {
        let cases = [
            ("python", json!({})),
            ("python", json!({"code": " "})),
            ("python", json!({"code": ["x"]})),
            ("bash", json!({"command": 1})),
            ("final", json!({"answer": null})),
            ("final_var", json!({"name": "a b"})),
        ];
        for (name, arguments) in cases {
            assert_eq!(called(name, &arguments), None, "{name} {arguments}");
        }
    }

    #[test]
    fn corrections_name_the_tools_and_the_keys() {
        let message = unknown("search").into_message();
        assert!(
            message.contains("\"search\"") && message.contains(TOOLS),
            "{message}"
        );
        let message = Tool::Bash.lacks_argument("run").into_message();
        assert!(message.contains("command, cmd, code, script"), "{message}");
        assert!(Tool::named("search").is_none());
    }
}
