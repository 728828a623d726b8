//! Commands of the shell that ask the host: what Python has as functions, for bash and every other program.

use crate::{bash, calls};
use serde::Deserialize;
use serde_json::{Value, json};
use std::ffi::{OsStr, OsString};
use std::io::{Error, IsTerminal, Read, Result, Write, stdin};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::process::ExitCode;

/// Their names, as links to this program.
pub const NAMES: [&str; 6] = [
    "query_llm",
    "llm_query",
    "query_llm_batched",
    "llm_query_batched",
    "rlm_query",
    "FINAL",
];

const WRONG_USAGE: u8 = 2;

/// One of them.
pub struct Command {
    name: &'static str,
    what: What,
}

#[derive(Clone, Copy)]
enum What {
    Query,
    Batched,
    Recursive,
    Final,
}

#[derive(Deserialize)]
struct Results {
    results: Vec<Item>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Item {
    Failed { error: String },
    Value { value: Value },
}

/// What was typed.
#[derive(Default)]
struct Typed {
    words: Vec<String>,
    schema: Option<Value>,
}

/// The command that is called so.
pub fn named(program: &OsStr) -> Option<Command> {
    let name = Path::new(program).file_name()?;
    let name = NAMES.into_iter().find(|known| name == *known)?;
    let what = match name {
        "query_llm" | "llm_query" => What::Query,
        "query_llm_batched" | "llm_query_batched" => What::Batched,
        "rlm_query" => What::Recursive,
        _ => What::Final,
    };
    Some(Command { name, what })
}

impl Command {
    /// Does it and says what came of it.
    pub fn run(self, arguments: impl Iterator<Item = OsString>) -> ExitCode {
        let Some(typed) = self.read(arguments) else {
            eprintln!("{}", self.usage());
            return WRONG_USAGE.into();
        };
        match self.carry_out(typed) {
            Ok(code) => code,
            Err(error) => {
                eprintln!("{}: {error}", self.name);
                ExitCode::FAILURE
            }
        }
    }

    fn usage(&self) -> String {
        let name = self.name;
        match self.what {
            What::Query => format!(
                "usage: {name} [--schema JSON] PROMPT...\n\
                 Asks a model and prints its reply. Standard input, if there is any, follows the prompt."
            ),
            What::Batched => format!(
                "usage: {name} [--schema JSON] <PROMPTS\n\
                 Asks for each line of standard input, side by side, and prints a line of JSON for each: \
                 {{\"value\": ...}} or {{\"error\": ...}}."
            ),
            What::Recursive => format!(
                "usage: {name} [--schema JSON] PROMPT...\n\
                 Has a model with a VM of its own answer over standard input, and prints the answer."
            ),
            What::Final => format!(
                "usage: {name} ANSWER...\nGives the final answer: the words, or standard input without any."
            ),
        }
    }

    /// `None`: wrong usage.
    fn read(&self, arguments: impl Iterator<Item = OsString>) -> Option<Typed> {
        let mut typed = Typed::default();
        let mut arguments = arguments.map(|word| word.to_string_lossy().into_owned());
        while let Some(word) = arguments.next() {
            match word.as_str() {
                "--" => {
                    typed.words.extend(arguments);
                    break;
                }
                "--schema" if !matches!(self.what, What::Final) => {
                    typed.schema = Some(serde_json::from_str(&arguments.next()?).ok()?);
                }
                "-h" | "--help" => return None,
                _ => typed.words.push(word),
            }
        }
        let has_words = !typed.words.is_empty();
        match self.what {
            What::Query | What::Recursive => has_words.then_some(typed),
            What::Batched => (!has_words).then_some(typed),
            What::Final => Some(typed),
        }
    }

    fn carry_out(&self, typed: Typed) -> Result<ExitCode> {
        let Typed { words, schema } = typed;
        let words = words.join(" ");
        let (call, asked) = match self.what {
            What::Query => {
                let prompt = match input()? {
                    Some(input) => format!("{words}\n\n{input}"),
                    None => words,
                };
                ("query_llm", json!({"prompts": [prompt], "schema": schema}))
            }
            What::Batched => {
                let prompts = input()?.unwrap_or_default();
                let prompts: Vec<_> = prompts.lines().filter(|line| !line.is_empty()).collect();
                if prompts.is_empty() {
                    return Ok(ExitCode::SUCCESS);
                }
                ("query_llm", json!({"prompts": prompts, "schema": schema}))
            }
            What::Recursive => {
                let query = json!({"prompt": words, "context": input()?});
                ("rlm_query", json!({"queries": [query], "schema": schema}))
            }
            What::Final => {
                let answer = if words.is_empty() {
                    input()?
                } else {
                    Some(words)
                };
                let answer = answer.ok_or_else(|| Error::other("what is the answer?"))?;
                ("final", json!({"text": answer, "value": answer}))
            }
        };
        let answer = calls::call(call, &serde_json::to_vec(&asked)?)?;
        if matches!(self.what, What::Final) {
            return Ok(ExitCode::SUCCESS);
        }
        let answer: Results = serde_json::from_slice(&answer)?;
        let mut has_failed = false;
        for item in answer.results {
            let line = match item {
                Item::Failed { error } if matches!(self.what, What::Batched) => {
                    has_failed = true;
                    json!({ "error": error }).to_string()
                }
                Item::Failed { error } => return Err(Error::other(error)),
                Item::Value { value } if matches!(self.what, What::Batched) => {
                    json!({ "value": value }).to_string()
                }
                Item::Value {
                    value: Value::String(text),
                } => text,
                Item::Value { value } => value.to_string(),
            };
            print(&line)?;
        }
        Ok(if has_failed {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        })
    }
}

/// Prints a line. `println` would panic where nobody reads.
fn print(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")
}

/// Standard input, if it was given to this program: not a terminal, and not what the whole shell reads.
fn input() -> Result<Option<String>> {
    if stdin().is_terminal() {
        return Ok(None);
    }
    let file = std::fs::metadata("/proc/self/fd/0")?;
    let of_shell = std::fs::metadata(bash::INPUT);
    let is_shells =
        of_shell.is_ok_and(|shell| shell.ino() == file.ino() && shell.dev() == file.dev());
    if file.file_type().is_char_device() || is_shells {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    stdin().lock().read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Ok(Some(text).filter(|text| !text.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(name: &str, words: &[&str]) -> Option<Typed> {
        let command = named(OsStr::new(name)).expect("a command");
        command.read(words.iter().map(OsString::from))
    }

    #[test]
    fn a_command_is_its_links_name() {
        assert!(named(OsStr::new("/usr/local/bin/query_llm")).is_some());
        assert!(named(OsStr::new("query_llm2")).is_none());
        assert!(named(OsStr::new("")).is_none());
    }

    #[test]
    fn wrong_usage_is_seen() {
        assert!(typed("query_llm", &[]).is_none());
        assert!(typed("query_llm", &["--schema", "{", "x"]).is_none());
        assert!(typed("query_llm", &["--schema"]).is_none());
        assert!(typed("query_llm_batched", &["x"]).is_none());
        let read = typed(
            "rlm_query",
            &["--schema", "{}", "how", "many", "--", "--help"],
        );
        let read = read.expect("a query");
        assert_eq!(read.words, ["how", "many", "--help"]);
        assert_eq!(read.schema, Some(json!({})));
    }
}
