//! Commands as JSON tool calls, in the shapes that models were trained on.

use serde_json::{Map, Value};

use super::correction::{Correction, excerpt};
use super::tool::{TOOLS, Tool, unknown};
use super::{Command, answer_dict, json};

/// The keys under which a call names its tool.
const NAME_KEYS: [&str; 3] = ["name", "tool", "function"];

/// The keys under which a call gives its arguments.
const ARGUMENT_KEYS: [&str; 4] = ["arguments", "parameters", "input", "args"];

/// How sure it is that a text is meant as a tool call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meant {
    /// It stands where only a tool call can stand: every fault is corrected.
    Surely,
    /// It may be data: what does not have a call's shape is left alone.
    Perhaps,
}

/// Reads a whole reply as JSON; none if it is something else.
pub(super) fn whole_reply(reply: &str) -> Option<Result<Vec<Command>, Correction>> {
    if !json::begins(reply) {
        return None;
    }
    let meant = if json::values(reply).is_ok() {
        Meant::Surely
    } else {
        Meant::Perhaps
    };
    match commands(reply, meant) {
        Ok(found) if found.is_empty() => None,
        outcome => Some(outcome),
    }
}

/// The commands that a JSON text holds; none at all if it is no tool call.
pub(super) fn commands(text: &str, meant: Meant) -> Result<Vec<Command>, Correction> {
    let values = match json::values(text) {
        Ok(values) => values,
        Err(_) if meant == Meant::Perhaps && !looks_like_call(text) => return Ok(Vec::new()),
        Err(error) => return Err(malformed(text, &error)),
    };
    let mut found = Vec::new();
    for value in &values {
        add_calls(value, meant, &mut found)?;
    }
    if found.is_empty() && meant == Meant::Surely {
        return Err(no_call(text));
    }
    Ok(found)
}

/// Whether JSON that cannot be read was going to be a call or an answer.
fn looks_like_call(text: &str) -> bool {
    let beginning: String = text
        .chars()
        .take(200)
        .filter(|c| !c.is_whitespace())
        .collect();
    let has = |key: &str| beginning.contains(&format!("\"{key}\":"));
    beginning.starts_with(['{', '['])
        && (has("tool_calls")
            || (has("content") && has("ready"))
            || (NAME_KEYS.iter().any(|key| has(key)) && ARGUMENT_KEYS.iter().any(|key| has(key))))
}

/// Adds the calls of a value: an object, a list of them, or the wrapping that chat APIs use.
fn add_calls(value: &Value, meant: Meant, found: &mut Vec<Command>) -> Result<(), Correction> {
    if let Some(answer) = answer_dict::command(value) {
        found.push(answer?);
        return Ok(());
    }
    let list = value.get("tool_calls").unwrap_or(value);
    for item in list
        .as_array()
        .map_or(std::slice::from_ref(list), Vec::as_slice)
    {
        let call = ["function", "function_call"]
            .iter()
            .find_map(|key| item.get(key).filter(|inner| inner.is_object()))
            .unwrap_or(item);
        if let Some(object) = call.as_object() {
            found.extend(command(object, meant)?);
        }
    }
    Ok(())
}

/// The command of one call; none if the object has not a call's shape.
fn command(call: &Map<String, Value>, meant: Meant) -> Result<Option<Command>, Correction> {
    let Some(name) = NAME_KEYS.iter().find_map(|key| call.get(*key)?.as_str()) else {
        return Ok(None);
    };
    let given = ARGUMENT_KEYS.iter().find_map(|key| call.get(*key));
    let Some(tool) = Tool::named(name) else {
        let shaped = given.is_some_and(|given| arguments(given).is_some());
        return if shaped || meant == Meant::Surely {
            Err(unknown(name))
        } else {
            Ok(None)
        };
    };
    let argument = match given {
        // Some write the argument beside the name.
        None => tool.argument(call),
        Some(given) => match arguments(given) {
            Some(arguments) => tool.argument(&arguments),
            None => plain_argument(given),
        },
    };
    match argument {
        Some(argument) => tool.command(name, argument).map(Some),
        None if given.is_none() && meant == Meant::Perhaps => Ok(None),
        None => Err(tool.lacks_argument(name)),
    }
}

/// The arguments as an object, which may be written as a JSON string.
fn arguments(given: &Value) -> Option<Map<String, Value>> {
    match given {
        Value::Object(object) => Some(object.clone()),
        Value::String(text) if json::begins(text) => match json::values(text).ok()?.pop()? {
            Value::Object(object) => Some(object),
            _ => None,
        },
        _ => None,
    }
}

/// The argument that is given without a key; an object cut short is none.
fn plain_argument(given: &Value) -> Option<String> {
    let text = given.as_str()?;
    (!text.trim().is_empty() && !text.trim_start().starts_with('{')).then(|| text.to_owned())
}

fn malformed(text: &str, error: &str) -> Correction {
    Correction::new(format!(
        "Your tool call is not valid JSON ({}): it begins \"{}\". Write one complete object such \
         as {{\"name\": \"python\", \"arguments\": {{\"code\": \"...\"}}}} with line ends in \
         strings as \\n, or write a ```python block.",
        excerpt(error),
        excerpt(text)
    ))
}

fn no_call(text: &str) -> Correction {
    Correction::new(format!(
        "Your JSON names no tool: it begins \"{}\". Write {{\"name\": \"...\", \"arguments\": \
         {{...}}}}; the tools are {TOOLS}. If the JSON is your answer, write it as FINAL(...) with \
         the JSON between the parentheses.",
        excerpt(text)
    ))
}

#[cfg(test)]
mod tests {
    use super::super::PythonCode;
    use super::*;

    fn code(source: &str) -> Command {
        Command::Code(PythonCode {
            source: source.into(),
        })
    }

    fn sure(text: &str) -> Vec<Command> {
        commands(text, Meant::Surely).unwrap_or_else(|error| panic!("{text}: {error:?}"))
    }

    fn fault(text: &str) -> String {
        commands(text, Meant::Surely)
            .expect_err("an error")
            .into_message()
    }

    #[test]
    fn a_call_may_be_written_in_any_of_the_usual_shapes() {
        let shapes = [
            r#"{"name": "python", "arguments": {"code": "x"}}"#,
            r#"{"tool": "execute_code", "parameters": {"source": "x"}}"#,
            r#"{"function": "repl", "input": {"script": "x"}}"#,
            r#"{"name": "run_python", "args": {"python": "x"}}"#,
            r#"{"name": "rlm_code", "arguments": "{\"code\": \"x\"}"}"#,
            r#"{"name": "code", "input": {"input": "x"}}"#,
            r#"{"name": "python", "input": "x"}"#,
            r#"{"tool": "python", "code": "x"}"#,
            r#"{"type": "function", "function": {"name": "python", "arguments": {"code": "x"}}}"#,
            r#"{"function_call": {"name": "python", "arguments": "{\"code\": \"x\"}"}}"#,
            r#"{"tool_calls": [{"id": "1", "type": "function",
                "function": {"name": "python", "arguments": "{\"code\": \"x\"}"}}]}"#,
            r#"[{"name": "Python", "arguments": {"code": "x"}}]"#,
            "{'name': 'python', 'arguments': {'code': 'x',}}",
        ];
        for shape in shapes {
            assert_eq!(sure(shape), [code("x")], "{shape}");
        }
    }

    #[test]
    fn several_calls_keep_their_order() {
        let lines = "{\"tool\":\"python\",\"code\":\"a\"}\n{\"tool\":\"python\",\"code\":\"b\nc\"}";
        assert_eq!(
            sure(lines),
            [
                code("a"),
                code(
                    "b
c"
                )
            ]
        );
    }

    #[test]
    fn a_faulty_call_is_told_what_there_is() {
        let cases = [
            (
                r#"{"name":"search","arguments":{"q":"x"}}"#,
                "query_llm(prompt)",
            ),
            (r#"{"name":"python","arguments":{}}"#, "source"),
            (r#"{"name":"python"}"#, "\"code\""),
            (
                r#"{"name":"python","arguments":{"code":""}}"#,
                "lacks its argument",
            ),
            (
                r#"{"name":"python","arguments":{"code":["a"]}}"#,
                "lacks its argument",
            ),
            (
                r#"{"name":"bash","arguments":"{\"command\": \"l"}"#,
                "lacks its argument",
            ),
            (r#"{"name":"final_var","arguments":{"name":"a b"}}"#, "a b"),
            (
                r#"{"name":"python","arguments":{"code":"x"#,
                "not valid JSON",
            ),
            (r#"{"code":"x"}"#, "names no tool"),
            ("ls -la", "not valid JSON"),
            ("", "names no tool"),
        ];
        for (text, expected) in cases {
            let message = fault(text);
            assert!(message.contains(expected), "{text}: {message}");
        }
    }

    #[test]
    fn data_is_not_taken_for_a_call() {
        let data = [
            r#"{"name": "Ann", "age": 3}"#,
            r#"{"name": "python", "year": 1991}"#,
            r#"{"name": "Ann", "input": "some text"}"#,
            "[1, 2]",
            r#"{"broken": "#,
            "",
        ];
        for text in data {
            assert_eq!(commands(text, Meant::Perhaps), Ok(Vec::new()), "{text}");
        }
    }

    #[test]
    fn a_whole_reply_of_json_is_meant_as_a_call() {
        assert_eq!(whole_reply("I say {}"), None);
        assert_eq!(whole_reply("[see above] for more"), None);
        assert_eq!(
            whole_reply(r#"{"tool":"python","code":"x"}"#),
            Some(Ok(vec![code("x")]))
        );
        assert!(whole_reply(r#"{"a": 1}"#).is_some_and(|outcome| outcome.is_err()));
        let cut = r#"{"name": "python", "arguments": {"code": "pri"#;
        assert!(whole_reply(cut).is_some_and(|outcome| outcome.is_err()));
    }
}
