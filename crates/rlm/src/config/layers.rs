//! Where values come from: a file, then the environment.

use super::RlmConfig;
use crate::RlmError;
use crate::error::Problem;
use toml::{Table, Value};

/// What variables of the environment begin with.
const PREFIX: &str = "UKERNEL_";

impl RlmConfig {
    /// The defaults, changed by a TOML file and then by the environment: `UKERNEL_MAX_TOTAL_TOKENS`
    /// sets `max_total_tokens`. Lists are separated by commas; tables can only be set in the file.
    /// Variables that name no field are other programs' affair.
    ///
    /// # Errors
    /// [`RlmError::Config`] with the key and what is wrong with it.
    pub fn from_layers(
        file: Option<&str>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, RlmError> {
        let bad = |error: toml::de::Error| {
            RlmError::config(Problem::new(error.message().to_owned(), error))
        };
        let mut table: Table = match file {
            Some(text) => toml::from_str(text).map_err(|error| {
                // With the line, which the message alone lacks.
                let text = error.to_string().trim().replace('\n', " ");
                RlmError::config(Problem::new(text, error))
            })?,
            None => Table::new(),
        };
        let fields = Fields::of_defaults();
        for (variable, value) in environment {
            let Some(name) = variable.strip_prefix(PREFIX) else {
                continue;
            };
            let name = name.to_ascii_lowercase();
            if let Some(kind) = fields.kind(&name) {
                let value = kind.parse(&value).ok_or_else(|| {
                    RlmError::config(format!(
                        "{variable}: `{}` is no {}",
                        value.escape_debug(),
                        kind.name()
                    ))
                })?;
                table.insert(name, value);
            }
        }
        let config: Self = table.try_into().map_err(bad)?;
        config.check()?;
        Ok(config)
    }
}

/// How a field is written in the environment.
#[derive(Clone, Copy)]
enum Kind {
    Bool,
    Integer,
    Float,
    Text,
    List,
}

impl Kind {
    fn parse(self, text: &str) -> Option<Value> {
        Some(match self {
            Self::Bool => Value::Boolean(text.parse().ok()?),
            Self::Integer => Value::Integer(text.parse().ok()?),
            Self::Float => Value::Float(text.parse().ok()?),
            Self::Text => Value::String(text.to_owned()),
            Self::List => {
                let items = text
                    .split(',')
                    .map(str::trim)
                    .filter(|item| !item.is_empty());
                Value::Array(items.map(|item| Value::String(item.to_owned())).collect())
            }
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Bool => "true or false",
            Self::Integer => "whole number",
            Self::Float => "number",
            Self::Text => "text",
            Self::List => "list",
        }
    }
}

/// Which fields there are: as the defaults have them, and those that are absent by default.
struct Fields(serde_json::Map<String, serde_json::Value>);

impl Fields {
    fn of_defaults() -> Self {
        // A structure of plain fields always becomes an object.
        match serde_json::to_value(RlmConfig::default()) {
            Ok(serde_json::Value::Object(fields)) => Self(fields),
            _ => Self(serde_json::Map::new()),
        }
    }

    fn kind(&self, name: &str) -> Option<Kind> {
        Some(match self.0.get(name)? {
            serde_json::Value::Bool(_) => Kind::Bool,
            serde_json::Value::Number(_) => Kind::Integer,
            serde_json::Value::String(_) => Kind::Text,
            serde_json::Value::Array(_) => Kind::List,
            serde_json::Value::Object(_) => return None,
            serde_json::Value::Null => match name {
                "max_total_micro_dollars" => Kind::Integer,
                "temperature" => Kind::Float,
                _ => Kind::Text,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::BackendType;

    fn from(file: &str, environment: &[(&str, &str)]) -> Result<RlmConfig, RlmError> {
        let environment = environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        RlmConfig::from_layers(Some(file), environment)
    }

    /// Every field, written as something else than its default, comes back from TOML and from
    /// the environment.
    #[test]
    fn every_field_is_read() {
        let serde_json::Value::Object(defaults) =
            serde_json::to_value(RlmConfig::default()).expect("plain")
        else {
            panic!("an object");
        };
        let special = [
            ("guest", "\"linux\""),
            ("image", "\"lab\""),
            ("kg_strictness", "\"strict\""),
            ("kg_thesaurus", "\"/a.json\""),
            ("backend_preference", "[\"kvm\"]"),
            ("llm_provider", "\"openai\""),
            ("llm_sub_model", "\"openai/x\""),
            ("trace_folder", "\"/t\""),
            ("home", "\"/h\""),
            ("source", "\"/s\""),
            ("session_folder", "\"/f\""),
            ("proxy", "\"http://127.0.0.1:1\""),
            ("alert_webhook_url", "\"http://127.0.0.1:2\""),
            ("temperature", "0.5"),
            ("max_total_micro_dollars", "7"),
            ("pool_min_size", "1"),
            ("pool_max_size", "11"),
            ("backend", "{ session_model = \"stateless\" }"),
            ("mcp_servers", "{ mine = { command = \"x\" } }"),
            (
                "providers",
                "{ mine = { base_url = \"http://127.0.0.1:3\" } }",
            ),
            (
                "prices",
                "{ \"mine/x\" = { prompt_micro_dollars_per_million = 1, completion_micro_dollars_per_million = 2 } }",
            ),
        ];
        for (name, default) in &defaults {
            let found = special.iter().find(|(special, _)| special == name);
            let text = match (found, default) {
                (Some((_, text)), _) => (*text).to_owned(),
                (None, serde_json::Value::Bool(value)) => (!value).to_string(),
                (None, serde_json::Value::Number(value)) => {
                    (value.as_u64().expect("whole") + 1).to_string()
                }
                (None, serde_json::Value::String(_)) => "\"other\"".to_owned(),
                (None, serde_json::Value::Array(_)) => "[\"a.example\", \"b.example\"]".to_owned(),
                (None, other) => panic!("{name}: {other}"),
            };
            let config = from(&format!("{name} = {text}"), &[]);
            let config = config.unwrap_or_else(|error| panic!("{name} = {text}: {error}"));
            let read = serde_json::to_value(&config).expect("plain");
            let changed: Vec<_> = defaults
                .keys()
                .filter(|key| read[*key] != defaults[*key])
                .collect();
            assert_eq!(changed, [name], "{name} = {text}");
            if default.is_object() {
                continue;
            }
            let variable = format!("UKERNEL_{}", name.to_uppercase());
            let value = text.trim_matches(['[', ']']).replace('"', "");
            let by_environment = from("", &[(&variable, &value)]).expect("as in the file");
            assert_eq!(by_environment, config, "{variable}={value}");
        }
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let config = from(
            "max_total_tokens = 5\nbackend_preference = [\"kvm\"]",
            &[
                ("UKERNEL_MAX_TOTAL_TOKENS", "9"),
                ("UKERNEL_NONE", "/x"),
                ("OTHER", "1"),
            ],
        );
        let config = config.expect("a configuration");
        assert_eq!(config.max_total_tokens, 9);
        assert_eq!(config.sandbox.backend_preference, [BackendType::Kvm]);
    }

    #[test]
    fn what_is_not_known_or_makes_no_sense_is_named() {
        let message = |file: &str, environment: &[(&str, &str)]| {
            from(file, environment).expect_err("an error").to_string()
        };
        assert!(message("max_tokenz = 5", &[]).contains("max_tokenz"));
        assert!(message("max_total_tokens = \"many\"", &[]).contains("invalid type"));
        assert!(message("max_total_tokens = 0", &[]).contains("max_total_tokens"));
        assert!(message("temperature = 3.0", &[]).contains("temperature"));
        assert!(message("pool_min_size = 99", &[]).contains("pool"));
        assert!(message("llm_provider = \"\"", &[]).contains("model"));
        assert!(message("= 1", &[]).contains("line 1"));
        let error = message("", &[("UKERNEL_MAX_TOTAL_TOKENS", "many")]);
        assert!(error.contains("UKERNEL_MAX_TOTAL_TOKENS") && error.contains("whole number"));
    }
}
