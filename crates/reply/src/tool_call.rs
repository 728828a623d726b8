//! Commands as JSON tool calls, in the shapes that models were trained on, and answers as dictionaries.

use crate::correction::excerpt;
use crate::fences::Fences;
use crate::final_call::is_identifier;
use crate::{Command, Fault, LlmQuery, json};
use serde_json::{Map, Value};

/// The keys under which a call names its tool.
const NAME_KEYS: [&str; 3] = ["name", "tool", "function"];

/// The keys under which a call gives its arguments.
const ARGUMENT_KEYS: [&str; 4] = ["arguments", "parameters", "input", "args"];

/// How a call is written.
const SHAPE: &str = "{\"name\": \"python\", \"arguments\": {\"code\": \"...\"}}";

/// A tool that a call may name.
struct Tool {
    /// Its names, in lower case.
    names: &'static [&'static str],
    /// The keys under which its argument may be given, the usual one first.
    keys: &'static [&'static str],
    /// Whether the argument has to be a string.
    is_text: bool,
    command: fn(String) -> Command,
}

const TOOLS: [Tool; 7] = [
    Tool {
        names: &[
            "python",
            "code",
            "execute_code",
            "run_python",
            "rlm_code",
            "repl",
        ],
        keys: &["code", "source", "python", "script", "input"],
        is_text: true,
        command: Command::python,
    },
    Tool {
        names: &["bash", "shell", "execute_command", "run", "rlm_bash"],
        keys: &["command", "cmd", "code", "script"],
        is_text: true,
        command: Command::bash,
    },
    Tool {
        names: &["final", "final_answer", "answer", "submit"],
        keys: &["answer", "content", "text", "result", "value"],
        is_text: false,
        command: Command::Final,
    },
    Tool {
        names: &["final_var"],
        keys: &["name", "variable", "var"],
        is_text: true,
        command: Command::FinalVariable,
    },
    Tool {
        names: &["query_llm", "llm_query"],
        keys: &["prompt", "query"],
        is_text: true,
        command: |prompt| Command::QueryLlm(LlmQuery { prompt }),
    },
    Tool {
        names: &["snapshot"],
        keys: &["name"],
        is_text: false,
        command: Command::Snapshot,
    },
    Tool {
        names: &["rollback"],
        keys: &["name", "id"],
        is_text: false,
        command: Command::Rollback,
    },
];

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
        let values = json::values(assigned).ok()?;
        let [value] = values.as_slice() else {
            return None;
        };
        return Some(answer(value)?.map(|answer| vec![answer]));
    }
    if !json::begins(text) {
        return None;
    }
    let meant = if json::values(text).is_ok() {
        Meant::Surely
    } else {
        Meant::Perhaps
    };
    Some(commands(text, meant)).filter(|found| !matches!(found, Ok(none) if none.is_empty()))
}

/// The commands that a JSON text holds; none at all if it is no tool call.
pub(crate) fn commands(text: &str, meant: Meant) -> Result<Vec<Command>, Fault> {
    let values = match json::values(text) {
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
    let content = match value.get("content")? {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let fault = match value.get("ready")? {
        Value::Bool(true) if content.trim().is_empty() => "has an empty \"content\"".to_owned(),
        Value::Bool(true) => return Some(Ok(Command::Final(content))),
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

/// Whether JSON that cannot be read was going to be a call or an answer.
fn looks_like_call(text: &str) -> bool {
    let beginning = text.chars().take(200).filter(|c| !c.is_whitespace());
    let beginning: String = beginning.collect();
    let has = |key: &&str| beginning.contains(&format!("\"{key}\":"));
    json::begins(&beginning)
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
    let lower = name.trim().to_ascii_lowercase();
    let Some(tool) = TOOLS
        .iter()
        .find(|tool| tool.names.contains(&lower.as_str()))
    else {
        if meant == Meant::Surely || given.is_some_and(|given| arguments(given).is_some()) {
            return Err(bad_call(&format!("there is no tool \"{}\"", excerpt(name))));
        }
        return Ok(None);
    };
    let argument = match given {
        // Some write the argument beside the name.
        None => tool.argument(call),
        Some(given) => match arguments(given) {
            Some(arguments) => tool.argument(&arguments),
            // It is given without a key; an object cut short is none.
            None => given
                .as_str()
                .filter(|text| !json::begins(text))
                .map(str::to_owned),
        },
    };
    match argument
        .filter(|argument| !argument.trim().is_empty())
        .map(tool.command)
    {
        Some(Command::FinalVariable(name)) if !is_identifier(&name) => {
            Err(bad_call(&format!("\"{}\" is no variable", excerpt(&name))))
        }
        Some(command) => Ok(Some(command)),
        None if given.is_none() && meant == Meant::Perhaps => Ok(None),
        None => Err(bad_call(&format!(
            "\"{}\" lacks its argument, or it is empty or no string",
            excerpt(name)
        ))),
    }
}

impl Tool {
    fn argument(&self, arguments: &Map<String, Value>) -> Option<String> {
        match self.keys.iter().find_map(|key| arguments.get(*key))? {
            Value::String(text) => Some(text.clone()),
            Value::Null => None,
            other => (!self.is_text).then(|| other.to_string()),
        }
    }
}

fn bad_call(why: &str) -> Fault {
    let tools = TOOLS.map(|tool| format!("{}({})", tool.names[0], tool.keys[0]));
    let tools = tools.join(", ");
    format!("Your tool call cannot be followed: {why}. Write {SHAPE}; the tools are {tools}.")
}

/// The arguments as an object, which may be written as a JSON string.
fn arguments(given: &Value) -> Option<Map<String, Value>> {
    let value = match given {
        Value::String(text) if json::begins(text) => json::values(text).ok()?.pop()?,
        other => other.clone(),
    };
    match value {
        Value::Object(object) => Some(object),
        _ => None,
    }
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
        let is_before_json = json::begins(&line[inside..]) && !before.ends_with('`');
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
