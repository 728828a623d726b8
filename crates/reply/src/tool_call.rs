//! Commands as JSON tool calls, in the shapes that models were trained on, and answers as dictionaries.

use crate::correction::excerpt;
use crate::fences::Fences;
use crate::final_call::is_identifier;
use crate::json as sloppy;
use crate::{Command, Fault, LlmQuery};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The keys under which a call names its tool.
const NAME_KEYS: [&str; 3] = ["name", "tool", "function"];

/// The keys under which a call gives its arguments.
const ARGUMENT_KEYS: [&str; 4] = ["arguments", "parameters", "input", "args"];

/// The tools that a call may name, each with its argument under the names that models give it; `""` stands
/// for an argument that came without a name.
#[derive(Deserialize)]
#[serde(tag = "name", content = "arguments", rename_all = "snake_case")]
enum Tool {
    #[serde(alias = "code", alias = "execute_code", alias = "run_python")]
    #[serde(alias = "rlm_code", alias = "repl")]
    Python {
        #[serde(alias = "source", alias = "python", alias = "script", alias = "input")]
        #[serde(alias = "")]
        code: String,
    },
    #[serde(
        alias = "shell",
        alias = "execute_command",
        alias = "run",
        alias = "rlm_bash"
    )]
    Bash {
        #[serde(alias = "cmd", alias = "code", alias = "script", alias = "")]
        command: String,
    },
    #[serde(alias = "final_answer", alias = "answer", alias = "submit")]
    Final {
        #[serde(
            alias = "content",
            alias = "text",
            alias = "result",
            alias = "value",
            alias = ""
        )]
        answer: Value,
    },
    FinalVar {
        #[serde(alias = "variable", alias = "var", alias = "")]
        name: String,
    },
    #[serde(alias = "llm_query")]
    QueryLlm {
        #[serde(alias = "query", alias = "")]
        prompt: String,
    },
    Snapshot {
        #[serde(alias = "")]
        name: Value,
    },
    Rollback {
        #[serde(alias = "id", alias = "")]
        name: Value,
    },
}

/// How sure it is that a text is meant as a tool call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meant {
    /// It stands where only a tool call can stand: every fault is corrected.
    Surely,
    /// It may be data: what does not have a call's shape is left alone.
    Perhaps,
}

/// Reads a whole reply as JSON or as `answer = {...}`; none if it is something else.
pub(crate) fn whole_reply(reply: &str) -> Option<Result<Vec<Command>, Fault>> {
    let text = reply.trim();
    if let Some(assigned) = text
        .strip_prefix("answer")
        .and_then(|rest| rest.trim_start().strip_prefix('='))
    {
        let values = sloppy::values(assigned).ok()?;
        let [value] = values.as_slice() else {
            return None;
        };
        return Some(answer(value)?.map(|answer| vec![answer]));
    }
    if !sloppy::begins(text) {
        return None;
    }
    let meant = if sloppy::values(text).is_ok() {
        Meant::Surely
    } else {
        Meant::Perhaps
    };
    Some(commands(text, meant)).filter(|found| !matches!(found, Ok(none) if none.is_empty()))
}

/// The commands that a JSON text holds; none at all if it is no tool call.
pub(crate) fn commands(text: &str, meant: Meant) -> Result<Vec<Command>, Fault> {
    let values = match sloppy::values(text) {
        Ok(values) => values,
        Err(_) if meant == Meant::Perhaps && !looks_like_call(text) => return Ok(Vec::new()),
        Err(error) => {
            let (error, begins) = (excerpt(&error), excerpt(text));
            return Err(bad_call(&format!(
                "it is not valid JSON ({error}) and begins \"{begins}\""
            )));
        }
    };
    let mut found = Vec::new();
    for value in &values {
        if let Some(answer) = answer(value) {
            found.push(answer?);
            continue;
        }
        // Calls stand alone, in lists, or in the wrapping that chat APIs use.
        let list = value.get("tool_calls").unwrap_or(value);
        let list = list
            .as_array()
            .map_or(std::slice::from_ref(list), Vec::as_slice);
        for item in list {
            let call = ["function", "function_call"]
                .iter()
                .find_map(|key| item.get(key).filter(|inner| inner.is_object()))
                .unwrap_or(item);
            if let Some(object) = call.as_object() {
                found.extend(command(object, meant)?);
            }
        }
    }
    if found.is_empty() && meant == Meant::Surely {
        return Err(bad_call(&format!(
            "it names no tool and begins \"{}\"",
            excerpt(text)
        )));
    }
    Ok(found)
}

/// The answer in a dictionary `{"content": "...", "ready": true}`; none if the value is something else.
fn answer(value: &Value) -> Option<Result<Command, Fault>> {
    let content = text_of(value.get("content")?);
    let fault = match value.get("ready")? {
        ready if is_true(ready) && content.trim().is_empty() => {
            "has an empty \"content\"".to_owned()
        }
        ready if is_true(ready) => return Some(Ok(Command::answer(content))),
        Value::Bool(false) => "says \"ready\": false, so nothing was done".to_owned(),
        other => format!(
            "has \"ready\": {}, which must be true or false",
            excerpt(&other.to_string())
        ),
    };
    Some(Err(format!(
        "Your answer dictionary (content \"{}\") {fault}. If the answer is final, write it with \
         \"ready\": true.",
        excerpt(&content)
    )))
}

/// Whether a value means yes: models write 1 too.
fn is_true(value: &Value) -> bool {
    *value == Value::Bool(true) || value.as_u64() == Some(1)
}

/// Whether JSON that cannot be read was going to be a call or an answer.
fn looks_like_call(text: &str) -> bool {
    let beginning = text.chars().take(200).filter(|c| !c.is_whitespace());
    let beginning: String = beginning.collect();
    let has = |key: &&str| beginning.contains(&format!("\"{key}\":"));
    sloppy::begins(&beginning)
        && (has(&"tool_calls")
            || (has(&"content") && has(&"ready"))
            || (NAME_KEYS.iter().any(has) && ARGUMENT_KEYS.iter().any(has)))
}

/// The command of one call; none if the object has not a call's shape.
fn command(call: &Map<String, Value>, meant: Meant) -> Result<Option<Command>, Fault> {
    let Some(name) = NAME_KEYS.iter().find_map(|key| call.get(*key)?.as_str()) else {
        return Ok(None);
    };
    let given = ARGUMENT_KEYS.iter().find_map(|key| call.get(*key));
    let arguments = match given {
        // Some write the argument beside the name.
        None => Value::Object(call.clone()),
        // Some write the object as a JSON string.
        Some(Value::String(text)) if sloppy::begins(text) => sloppy::values(text)
            .ok()
            .and_then(|mut values| values.pop())
            .unwrap_or_default(),
        // Some give it without a key.
        Some(Value::String(text)) => json!({"": text}),
        Some(other) => other.clone(),
    };
    let is_shaped = given.is_some() && arguments.is_object();
    let call = json!({"name": name.trim().to_ascii_lowercase(), "arguments": arguments});
    match serde_json::from_value(call)
        .map_err(|error| error.to_string())
        .and_then(of_tool)
    {
        Ok(command) => Ok(Some(command)),
        Err(_) if meant == Meant::Perhaps && !is_shaped => Ok(None),
        Err(error) => Err(bad_call(&format!(
            "\"{}\" cannot be called so ({})",
            excerpt(name),
            excerpt(&error)
        ))),
    }
}

fn of_tool(tool: Tool) -> Result<Command, String> {
    let filled = |text: String| match text.trim() {
        "" | "null" => Err("its argument is empty".to_owned()),
        _ => Ok(text),
    };
    Ok(match tool {
        Tool::Python { code } => Command::python(filled(code)?),
        Tool::Bash { command } => Command::bash(filled(command)?),
        Tool::Final { answer } => Command::answer(filled(text_of(&answer))?),
        Tool::FinalVar { name } if is_identifier(&name) => Command::FinalVariable(name),
        Tool::FinalVar { name } => return Err(format!("`{name}` is no variable")),
        Tool::QueryLlm { prompt } => Command::QueryLlm(LlmQuery {
            prompt: filled(prompt)?,
        }),
        Tool::Snapshot { name } => Command::Snapshot(filled(text_of(&name))?),
        Tool::Rollback { name } => Command::Rollback(filled(text_of(&name))?),
    })
}

/// A value as text: a string's content, or else its JSON.
fn text_of(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn bad_call(why: &str) -> Fault {
    format!(
        "Your tool call cannot be followed: {why}. Write {{\"name\": \"python\", \"arguments\": \
         {{\"code\": \"...\"}}}}; the tools are python(code), bash(command), final(answer), \
         final_var(name), query_llm(prompt), snapshot(name), rollback(name)."
    )
}

/// Where a line opens a tool call with `<tool_call>`, as the place past the tag. A tag inside a sentence
/// opens one only if JSON follows it.
pub(crate) fn opening_in(line: &str) -> Option<usize> {
    if line.trim_start().starts_with('>') {
        return None;
    }
    line.match_indices("<tool_call>").find_map(|(at, tag)| {
        let inside = at + tag.len();
        let before = &line[..at];
        let is_before_json = sloppy::begins(&line[inside..]) && !before.ends_with('`');
        (before.trim().is_empty() || is_before_json).then_some(inside)
    })
}

/// The text between the tags, from just past the opening one, and where the text after it begins.
/// Models forget the closing tag: then the next opening one or the end counts.
pub(crate) fn tagged(text: &str, from: usize) -> (&str, usize) {
    let mut at = from;
    let (body, end) = loop {
        let Some(offset) = text[at..].find("tool_call>") else {
            break (&text[from..], text.len());
        };
        let stem = at + offset;
        at = stem + "tool_call>".len();
        if let Some(body) = text[from..stem].strip_suffix("</") {
            break (body, at);
        }
        if text[from..stem].ends_with('<') {
            break (&text[from..stem - 1], stem - 1);
        }
    };
    // The call may stand in a block of its own.
    let body = body.trim();
    let block = Fences::new(body).block_at(0);
    (block.map_or(body, |block| block.body), end)
}
