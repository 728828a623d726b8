//! The six tools: names, schemas, descriptions.

use crate::args::{BashArgs, CodeArgs, ContextArgs, QueryArgs, SnapshotArgs, StatusArgs};
use crate::replies::{Answered, Executed, Reply, Snapshots, Stands, Variables};
use rmcp::model::{Tool, ToolAnnotations};
use schemars::JsonSchema;
use serde_json::Value;
use std::fmt::Write;
use terraphim_rlm::ErrorCode;

pub(crate) const CODE: &str = "rlm_code";
pub(crate) const BASH: &str = "rlm_bash";
pub(crate) const QUERY: &str = "rlm_query";
pub(crate) const CONTEXT: &str = "rlm_context";
pub(crate) const SNAPSHOT: &str = "rlm_snapshot";
pub(crate) const STATUS: &str = "rlm_status";

/// What a client is told about the server as a whole.
pub(crate) const INSTRUCTIONS: &str = "Code runs in a microVM of its own: variables and files stay \
from call to call of one session, and nothing of the host is in reach. The first call makes a \
session and replies with its handle; pass the handle as `session` to go on there.";

fn tool<I: JsonSchema + 'static, O: JsonSchema + 'static>(
    name: &'static str,
    title: &str,
    description: &'static str,
    annotations: ToolAnnotations,
) -> Tool {
    Tool::new(name, description, rmcp::model::JsonObject::new())
        .with_title(title)
        .with_input_schema::<I>()
        .with_output_schema::<Reply<O>>()
        .with_annotations(annotations)
}

/// The tools, as `tools/list` gives them.
#[must_use]
pub fn tools() -> Vec<Tool> {
    // What a tool does ends at the walls of its session: nothing outside is changed or reached. Code
    // can destroy what is in the session.
    let inside = ToolAnnotations::new().read_only(false).open_world(false);
    vec![
        tool::<CodeArgs, Executed>(
            CODE,
            "Run Python",
            "Runs Python in a session: a microVM whose variables and files stay from call to call. The value of a last \
             expression comes back, as at a prompt. The code can ask models (query_llm, rlm_query), show pictures, \
             tables and data (display(object)) and call the tools of other MCP servers, if some are configured (tools.search(\"...\")).\n\
             Example: {\"code\": \"import statistics\\nstatistics.mean([1, 2, 6])\"} gives value \"3\" and a session handle; \
             pass it on to find `statistics` still imported.",
            inside.clone().destructive(true).idempotent(false),
        ),
        tool::<BashArgs, Executed>(
            BASH,
            "Run a shell command",
            "Runs a shell command in a session, over the same files as its Python: pipes, redirections, grep, sed, awk, jq, \
             find and other text tools, without a Linux underneath. `python3` is the session's interpreter.\n\
             Example: {\"command\": \"grep -c error /data/app.log\", \"session\": \"s_...\"}",
            inside.clone().destructive(true).idempotent(false),
        ),
        tool::<QueryArgs, Answered>(
            QUERY,
            "Ask over a large context",
            "Has a language model answer a question over a context of any length, by writing code that looks at the context \
             and asks models about pieces of it. Takes from seconds to minutes and spends tokens.\n\
             Example: {\"question\": \"Which three errors are most frequent?\", \"context\": \"...the log...\"}, or without \
             `context` after rlm_context has set the session's variable `context`.",
            inside
                .clone()
                .destructive(false)
                .idempotent(false)
                .open_world(true),
        ),
        tool::<ContextArgs, Variables>(
            CONTEXT,
            "Read and write variables",
            "Reads and writes variables of a session's Python as texts. Questions of rlm_query are about the variable \
             `context`.\n\
             Example: {\"action\": \"set\", \"name\": \"context\", \"value\": \"...\"}, later {\"action\": \"get\", \"name\": \
             \"result\", \"session\": \"s_...\"}",
            inside.clone().destructive(true).idempotent(true),
        ),
        tool::<SnapshotArgs, Snapshots>(
            SNAPSHOT,
            "Keep and restore states",
            "Keeps the whole state of a session (interpreter, variables, files) under a name, lists such snapshots, or goes \
             back to one.\n\
             Example: {\"action\": \"create\", \"name\": \"before\", \"session\": \"s_...\"}, and after something went wrong \
             {\"action\": \"restore\", \"name\": \"before\", \"session\": \"s_...\"}",
            inside.clone().destructive(true).idempotent(false),
        ),
        tool::<StatusArgs, Stands>(
            STATUS,
            "See how tasks and sessions stand",
            "Tells how a task stands: `status`, `progress_pct`, `current_step`, and the result when it is there. Without \
             arguments it lists your sessions and tasks. It also cancels a task and ends a session.\n\
             Example: {\"task\": \"t_...\", \"wait_s\": 20}",
            inside.destructive(true).idempotent(true),
        ),
    ]
}

/// The reference of tools and errors, as Markdown: what docs/mcp.md has.
#[must_use]
pub fn reference() -> String {
    let mut text = String::new();
    for tool in tools() {
        let _ = writeln!(text, "### {}\n", tool.name);
        let _ = writeln!(
            text,
            "{}\n",
            tool.description.as_deref().unwrap_or_default()
        );
        let _ = writeln!(text, "| argument | type | |\n|---|---|---|");
        fields(&mut text, &Value::Object((*tool.input_schema).clone()));
        if let Some(output) = &tool.output_schema {
            let _ = writeln!(text, "\n| result | type | |\n|---|---|---|");
            fields(&mut text, &Value::Object((**output).clone()));
        }
        text.push('\n');
    }
    let _ = writeln!(
        text,
        "### Errors\n\n| code | name | meaning |\n|---|---|---|"
    );
    let invalid = rmcp::model::ErrorCode::INVALID_PARAMS.0;
    let _ = writeln!(
        text,
        "| {invalid} | `invalid_arguments` | Arguments that do not fit the tool's schema. |"
    );
    for code in ErrorCode::ALL {
        let _ = writeln!(
            text,
            "| {} | `{}` | {} |",
            code.number, code.name, code.meaning
        );
    }
    text
}

/// Rows of a table: the properties of a schema.
fn fields(text: &mut String, schema: &Value) {
    let required: Vec<&str> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let property = resolve(schema, property);
        let mark = if required.contains(&name.as_str()) {
            ", always"
        } else {
            ""
        };
        let description = property["description"].as_str().unwrap_or_default();
        let _ = writeln!(
            text,
            "| `{name}` | {}{mark} | {} |",
            kind(schema, property),
            description.replace('\n', " ").replace('|', "\\|")
        );
    }
}

/// A schema itself, where a reference stands for it.
fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let target = schema["$ref"]
        .as_str()
        .and_then(|name| name.strip_prefix('#'));
    match target.and_then(|pointer| root.pointer(pointer)) {
        // A description beside the reference says more.
        Some(found) if schema["description"].is_null() => found,
        _ => schema,
    }
}

fn kind(root: &Value, schema: &Value) -> String {
    if let Some(choices) = schema["anyOf"].as_array() {
        let kinds = choices.iter().map(|choice| kind(root, choice));
        let kinds: Vec<String> = kinds.filter(|kind| kind != "null").collect();
        return kinds.join(" or ");
    }
    if let Some(pointer) = schema["$ref"]
        .as_str()
        .and_then(|name| name.strip_prefix('#'))
    {
        return root
            .pointer(pointer)
            .map_or_else(String::new, |found| kind(root, found));
    }
    if let Some(values) = schema["enum"].as_array().or(schema["oneOf"].as_array()) {
        let names: Vec<String> = values
            .iter()
            .filter_map(|value| value.as_str().or(value["const"].as_str()))
            .map(|name| format!("`{name}`"))
            .collect();
        return names.join(", ");
    }
    match &schema["type"] {
        Value::String(name) if name == "array" => {
            format!("list of {}", kind(root, &schema["items"]))
        }
        Value::String(name) => name.clone(),
        Value::Array(names) => names
            .iter()
            .filter_map(Value::as_str)
            .filter(|name| *name != "null")
            .collect::<Vec<_>>()
            .join(" or "),
        _ => "any".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_says_what_it_takes_and_gives() {
        let tools = tools();
        assert_eq!(
            tools.iter().map(|tool| &*tool.name).collect::<Vec<_>>(),
            [CODE, BASH, QUERY, CONTEXT, SNAPSHOT, STATUS]
        );
        for tool in &tools {
            let schema = Value::Object((*tool.input_schema).clone());
            assert_eq!(schema["additionalProperties"], false, "{}", tool.name);
            for (name, property) in schema["properties"].as_object().expect("properties") {
                let described = property["description"].as_str();
                assert!(described.is_some(), "{} {name}: {property}", tool.name);
            }
            assert!(tool.output_schema.is_some());
            let description = tool.description.as_deref().expect("a description");
            assert!(description.contains("Example: "), "{}", tool.name);
        }
    }
}
