//! How clients of MCP are told of this server.

use crate::args::Client;
use serde_json::{Value, json};
use std::path::Path;

/// What stands where a token is to be put.
const TOKEN: &str = "PUT THE TOKEN HERE";

/// What a client's configuration takes, for a server that is started by it, or that listens at `url`.
pub fn config(client: Client, program: &Path, url: Option<&str>) -> String {
    let program = program.display().to_string();
    let authorization = format!("Bearer {TOKEN}");
    let started = json!({"command": program, "args": ["mcp"]});
    let with = |mut value: Value, key: &str, more: Value| {
        value[key] = more;
        value
    };
    let headers = json!({"Authorization": authorization});
    let reached = |key: &str, url: &str| json!({key: url, "headers": headers});
    let document = match (client, url) {
        (Client::Codex, None) => {
            return format!(
                "[mcp_servers.ukernel]\ncommand = {}\nargs = [\"mcp\"]",
                toml_text(&program)
            );
        }
        (Client::Codex, Some(url)) => {
            return format!(
                "[mcp_servers.ukernel]\nurl = {}\nhttp_headers = {{ Authorization = {} }}",
                toml_text(url),
                toml_text(&authorization)
            );
        }
        (Client::Vscode, None) => {
            json!({"servers": {"ukernel": with(started, "type", json!("stdio"))}})
        }
        (Client::Vscode, Some(url)) => {
            json!({"servers": {"ukernel": with(reached("url", url), "type", json!("http"))}})
        }
        (Client::Zed, None) => json!({"context_servers": {"ukernel": started}}),
        (Client::Zed, Some(url)) => json!({"context_servers": {"ukernel": reached("url", url)}}),
        (_, None) => json!({"mcpServers": {"ukernel": started}}),
        (Client::Claude, Some(url)) => {
            json!({"mcpServers": {"ukernel": with(reached("url", url), "type", json!("http"))}})
        }
        (Client::Gemini, Some(url)) => {
            json!({"mcpServers": {"ukernel": reached("httpUrl", url)}})
        }
        (Client::Windsurf, Some(url)) => {
            json!({"mcpServers": {"ukernel": reached("serverUrl", url)}})
        }
        (Client::Cursor, Some(url)) => json!({"mcpServers": {"ukernel": reached("url", url)}}),
    };
    // A document made here always becomes text.
    serde_json::to_string_pretty(&document).unwrap_or_default()
}

/// A basic string of TOML: what JSON escapes is escaped the same there.
fn toml_text(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    #[test]
    fn every_client_gets_a_document_of_its_kind() {
        let program = Path::new("/opt/a \"b\"/ukernel");
        for client in Client::value_variants() {
            for url in [None, Some("http://127.0.0.1:8931/mcp")] {
                let text = config(*client, program, url);
                let document: Value = if *client == Client::Codex {
                    let table: toml::Table = toml::from_str(&text).expect("TOML");
                    serde_json::to_value(table).expect("plain")
                } else {
                    serde_json::from_str(&text).expect("JSON")
                };
                let servers = document.as_object().expect("an object");
                let server = &servers.values().next().expect("servers")["ukernel"];
                if url.is_none() {
                    assert_eq!(server["command"], "/opt/a \"b\"/ukernel", "{text}");
                    assert_eq!(server["args"], json!(["mcp"]), "{text}");
                } else {
                    assert!(text.contains("http://127.0.0.1:8931/mcp"), "{text}");
                    assert!(text.contains("Bearer "), "{text}");
                }
            }
        }
    }
}
