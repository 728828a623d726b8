//! MCP servers whose tools code may call.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// Longest name, in bytes.
const MAX_NAME_BYTES: usize = 32;

/// An MCP server: one that is started, or one that is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamServer {
    /// The program to start. It speaks MCP on its standard streams.
    pub command: Option<String>,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its environment, beside `PATH`, `HOME` and `LANG`. A value `env:NAME` is read from this
    /// process's environment.
    pub env: BTreeMap<String, String>,
    /// Where it is reached over streamable HTTP, instead of being started.
    pub url: Option<String>,
    /// Environment variable with the bearer token for `url`.
    pub token_variable: Option<String>,
    /// The tools that may be called; all if absent.
    pub allow: Option<Vec<String>>,
    /// How long one call may take, in milliseconds.
    pub timeout_ms: u64,
    /// Calls that the code of one session may make.
    pub max_calls: u64,
}

impl Default for UpstreamServer {
    fn default() -> Self {
        Self {
            command: None,
            args: Vec::new(),
            env: BTreeMap::new(),
            url: None,
            token_variable: None,
            allow: None,
            timeout_ms: 60_000,
            max_calls: 10_000,
        }
    }
}

impl UpstreamServer {
    /// How long one call may take.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    /// What is wrong with it under this name, for people; `None` if nothing is.
    #[must_use]
    pub fn problem(&self, name: &str) -> Option<&'static str> {
        let mut letters = name.bytes();
        let begins = letters
            .next()
            .is_some_and(|c| c.is_ascii_lowercase() || c == b'_');
        let is_rest = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_';
        if !begins || name.len() > MAX_NAME_BYTES || !letters.all(is_rest) {
            return Some("a name is 1 to 32 lower case letters, digits and `_`, as in code");
        }
        match (&self.command, &self.url) {
            (None, None) => Some("it takes a `command` or a `url`"),
            (Some(_), Some(_)) => Some("it takes a `command` or a `url`, not both"),
            (Some(command), None) if command.is_empty() => Some("`command` is empty"),
            (None, Some(url)) if !url.starts_with("http://") && !url.starts_with("https://") => {
                Some("`url` begins with http:// or https://")
            }
            (Some(_), None) if self.token_variable.is_some() => {
                Some("`token_variable` goes with `url`; `env` with `command`")
            }
            (None, Some(_)) if !self.args.is_empty() || !self.env.is_empty() => {
                Some("`args` and `env` go with `command`")
            }
            _ if self.timeout_ms == 0 => Some("`timeout_ms` is 0"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_started_or_reached() {
        let started = UpstreamServer {
            command: Some("x".to_owned()),
            ..UpstreamServer::default()
        };
        assert_eq!(started.problem("files"), None);
        for name in ["", "Files", "1", "a-b", "a.b", &"a".repeat(33)] {
            assert!(started.problem(name).is_some(), "{name}");
        }
        let reached = UpstreamServer {
            url: Some("https://example.com/mcp".to_owned()),
            ..UpstreamServer::default()
        };
        assert_eq!(reached.problem("files"), None);
        let both = UpstreamServer {
            url: reached.url.clone(),
            ..started.clone()
        };
        assert!(both.problem("files").is_some());
        assert!(UpstreamServer::default().problem("files").is_some());
        let file = UpstreamServer {
            url: Some("file:///x".to_owned()),
            ..reached
        };
        assert!(file.problem("files").is_some());
    }
}
