//! JSON Schema for answers.

use crate::{Result, RlmError};
use jsonschema::{PatternOptions, Validator};
use serde_json::Value;
use std::sync::Arc;

/// Longest schema, in bytes. Some come from guests.
const MAX_SCHEMA_BYTES: usize = 64 << 10;

/// Longest description of what does not fit, in characters.
const MAX_REASON_CHARS: usize = 400;

/// A schema that answers have to follow. References to other documents are refused, and patterns
/// run in linear time: a schema may come from a guest.
#[derive(Clone)]
pub struct Schema {
    document: Arc<Value>,
    validator: Arc<Validator>,
}

impl std::fmt::Debug for Schema {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.document.fmt(out)
    }
}

impl Schema {
    /// Compiles a schema.
    ///
    /// # Errors
    /// [`RlmError::Config`] if it is none.
    pub fn new(document: Value) -> Result<Self> {
        if document.to_string().len() > MAX_SCHEMA_BYTES {
            return Err(RlmError::config(format!(
                "a schema has at most {MAX_SCHEMA_BYTES} bytes"
            )));
        }
        let validator = jsonschema::options()
            .with_pattern_options(PatternOptions::regex())
            .build(&document)
            .map_err(|error| RlmError::config(format!("the schema is none: {}", clip(&error))))?;
        Ok(Self {
            document: Arc::new(document),
            validator: Arc::new(validator),
        })
    }

    /// The schema itself.
    #[must_use]
    pub fn document(&self) -> &Value {
        &self.document
    }

    /// Refuses a value that does not follow it, with what is wrong.
    ///
    /// # Errors
    /// What is wrong, for a model to read.
    pub fn check(&self, value: &Value) -> Result<(), String> {
        match self.validator.validate(value) {
            Ok(()) => Ok(()),
            Err(error) => {
                let place = error.instance_path().to_string();
                let place = if place.is_empty() { "/" } else { &place };
                Err(format!("at {place}: {}", clip(&error)))
            }
        }
    }

    /// The value a text stands for: JSON, perhaps in a fenced block.
    ///
    /// # Errors
    /// What is wrong, for a model to read.
    pub fn read(&self, text: &str) -> Result<Value, String> {
        let text = unfenced(text);
        let value: Value =
            serde_json::from_str(text).map_err(|error| format!("it is no JSON: {error}"))?;
        if is_rounded(text) {
            return Err(
                "it has an integer of more than 64 bits, which would be rounded: give it as a string"
                    .to_owned(),
            );
        }
        self.check(&value)?;
        Ok(value)
    }
}

/// Whether JSON has an integer that a [`Value`] rounds: one of more than 64 bits becomes a float there.
pub(crate) fn is_rounded(json: &str) -> bool {
    let mut rest = json;
    while let Some(at) = rest.find(|c: char| c == '"' || c == '-' || c.is_ascii_digit()) {
        rest = &rest[at..];
        if let Some(inside) = rest.strip_prefix('"') {
            rest = past_string(inside);
            continue;
        }
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c)));
        let (number, after) = rest.split_at(end.unwrap_or(rest.len()));
        let is_integer = !number.contains(['.', 'e', 'E']);
        if is_integer && number.parse::<i64>().is_err() && number.parse::<u64>().is_err() {
            return true;
        }
        rest = after;
    }
    false
}

/// What follows a string whose inside begins here.
fn past_string(inside: &str) -> &str {
    let mut is_escaped = false;
    let end = inside.find(|c: char| {
        let ends = c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        ends
    });
    end.map_or("", |end| &inside[end + 1..])
}

fn clip(error: &dyn std::fmt::Display) -> String {
    error.to_string().chars().take(MAX_REASON_CHARS).collect()
}

/// What is inside a fence, if the whole text is in one.
fn unfenced(text: &str) -> &str {
    let text = text.trim();
    let inner = text.strip_prefix("```").and_then(|rest| {
        let (_, body) = rest.split_once('\n')?;
        body.trim_end().strip_suffix("```")
    });
    inner.unwrap_or(text).trim()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn answers_are_held_against_it() {
        let schema = json!({
            "type": "object",
            "properties": {"count": {"type": "integer"}, "name": {"type": "string", "pattern": "^[a-z]+$"}},
            "required": ["count"],
        });
        let schema = Schema::new(schema).expect("a schema");
        assert_eq!(schema.read("{\"count\": 3}"), Ok(json!({"count": 3})));
        assert_eq!(
            schema.read("```json\n{\"count\": 3, \"name\": \"x\"}\n```"),
            Ok(json!({"count": 3, "name": "x"}))
        );
        let reason = |text: &str| schema.read(text).expect_err("no fit");
        assert!(reason("{}").contains("count"));
        assert!(reason("{\"count\": \"3\"}").contains("/count"));
        assert!(reason("{\"count\": 1, \"name\": \"X\"}").contains("/name"));
        assert!(reason("three").contains("no JSON"));
    }

    #[test]
    fn integers_that_would_be_rounded_are_seen() {
        for exact in [
            "18446744073709551615",
            "[-9223372036854775808, 1e30, 0.5]",
            "{\"a\\\"1\": \"100000000000000000000\"}",
            "null",
        ] {
            assert!(!is_rounded(exact), "{exact}");
        }
        for rounded in [
            "18446744073709551616",
            "[1, -9223372036854775809]",
            "{\"a\\\\\": 100000000000000000000}",
        ] {
            assert!(is_rounded(rounded), "{rounded}");
        }
        let schema = Schema::new(json!({"type": "integer"})).expect("a schema");
        assert!(
            schema
                .read("100000000000000000000")
                .expect_err("rounded")
                .contains("as a string")
        );
    }

    #[test]
    fn a_schema_that_reaches_out_or_is_none_is_refused() {
        assert!(Schema::new(json!({"type": "nonsense"})).is_err());
        assert!(Schema::new(json!({"$ref": "http://127.0.0.1:1/schema"})).is_err());
        assert!(Schema::new(json!({"$ref": "file:///etc/passwd"})).is_err());
        assert!(Schema::new(json!({"description": "x".repeat(1 << 17)})).is_err());
    }

    #[test]
    fn a_pattern_cannot_take_for_ever() {
        let schema = json!({"type": "string", "pattern": "^(a+)+$"});
        let schema = Schema::new(schema).expect("a schema");
        let text = Value::from("a".repeat(50_000) + "!");
        assert!(schema.check(&text).is_err());
    }
}
