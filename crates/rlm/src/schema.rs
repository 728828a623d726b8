//! JSON Schema for answers.

use crate::exact::Exact;
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

    /// Refuses a value that does not follow it, with what is wrong. Integers of more than 64 bits are
    /// compared as floats.
    ///
    /// # Errors
    /// What is wrong, for a model to read.
    pub(crate) fn check(&self, value: &Exact) -> Result<(), String> {
        let value = value
            .rounded()
            .map_err(|error| format!("it cannot be held against the schema: {error}"))?;
        match self.validator.validate(&value) {
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
    pub(crate) fn read(&self, text: &str) -> Result<Exact, String> {
        let value =
            Exact::read(unfenced(text)).map_err(|error| format!("it is no JSON: {error}"))?;
        self.check(&value)?;
        Ok(value)
    }
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
        let value = |text: &str| schema.read(text).expect("it fits").value();
        assert_eq!(value("{\"count\": 3}"), Some(json!({"count": 3})));
        assert_eq!(
            value("```json\n{\"count\": 3, \"name\": \"x\"}\n```"),
            Some(json!({"count": 3, "name": "x"}))
        );
        let reason = |text: &str| schema.read(text).expect_err("no fit");
        assert!(reason("{}").contains("count"));
        assert!(reason("{\"count\": \"3\"}").contains("/count"));
        assert!(reason("{\"count\": 1, \"name\": \"X\"}").contains("/name"));
        assert!(reason("three").contains("no JSON"));
    }

    #[test]
    fn large_integers_stay_exact() {
        let schema = Schema::new(json!({"type": "integer", "minimum": 0})).expect("a schema");
        let large = "100000000000000000000000000000001";
        assert_eq!(schema.read(large).expect("it fits").json(), large);
        assert!(
            schema
                .read(&format!("-{large}"))
                .expect_err("negative")
                .contains("minimum")
        );
        let endless = "1".repeat(400);
        assert!(
            schema
                .read(&endless)
                .expect_err("no float")
                .contains("out of range")
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
        let text = Exact::from(("a".repeat(50_000) + "!").as_str());
        assert!(schema.check(&text).is_err());
    }
}
