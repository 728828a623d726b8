//! What a model is asked.

use crate::ModelName;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;
use std::str::FromStr;

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Who sets the rules.
    System,
    /// Who asks.
    User,
    /// The model, earlier.
    Assistant,
}

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub text: String,
}

impl Message {
    /// A message that sets the rules.
    #[must_use]
    pub fn system(text: impl Into<String>) -> Self {
        Self::of(Role::System, text)
    }

    /// A message that asks.
    #[must_use]
    pub fn user(text: impl Into<String>) -> Self {
        Self::of(Role::User, text)
    }

    /// An earlier reply.
    #[must_use]
    pub fn assistant(text: impl Into<String>) -> Self {
        Self::of(Role::Assistant, text)
    }

    fn of(role: Role, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { role, text }
    }
}

/// A call: a conversation, and how it is to go on.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Who is asked.
    pub model: ModelName,
    /// The conversation. The last message is the user's.
    pub messages: Vec<Message>,
    /// Most tokens of the reply; the provider's own limit if absent.
    pub max_tokens: Option<u32>,
    /// Between 0 and 2; the model's own if absent.
    pub temperature: Option<f64>,
    /// Texts at which the reply ends.
    pub stop: Vec<String>,
    /// A JSON schema that the reply has to follow, where the provider can hold a model to one.
    pub json_schema: Option<Value>,
}

impl Request {
    /// A request without any wishes.
    #[must_use]
    pub fn new(model: ModelName, messages: Vec<Message>) -> Self {
        Self {
            model,
            messages,
            max_tokens: None,
            temperature: None,
            stop: Vec::new(),
            json_schema: None,
        }
    }

    /// What is wrong with it, for people; `None` if nothing is.
    #[must_use]
    pub fn problem(&self) -> Option<&'static str> {
        let last_is_user = self
            .messages
            .last()
            .is_some_and(|message| message.role == Role::User);
        if !last_is_user {
            return Some("the last message has to be the user's");
        }
        if self.max_tokens == Some(0) {
            return Some("max_tokens is 0");
        }
        let is_temperature = |value: f64| (0.0..=2.0).contains(&value);
        if self.temperature.is_some_and(|value| !is_temperature(value)) {
            return Some("the temperature is not between 0 and 2");
        }
        None
    }

    /// What the request says, as a digest: everything but the model, so that a recorded
    /// conversation can be played by `replay:FILE`.
    #[must_use]
    pub fn digest(&self) -> RequestDigest {
        let mut hasher = blake3::Hasher::new_derive_key("ukernel-llm 2026 request v1");
        let mut add = |tag: u8, text: &str| {
            hasher.update(&[tag]);
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        };
        for message in &self.messages {
            add(message.role as u8, &message.text);
        }
        if let Some(tokens) = self.max_tokens {
            add(10, &tokens.to_string());
        }
        if let Some(temperature) = self.temperature {
            add(11, &temperature.to_string());
        }
        for stop in &self.stop {
            add(12, stop);
        }
        if let Some(schema) = &self.json_schema {
            let mut text = String::new();
            write_sorted(schema, &mut text);
            add(13, &text);
        }
        RequestDigest(*hasher.finalize().as_bytes())
    }
}

/// Writes JSON with the keys of every object in order, however they are kept in memory.
fn write_sorted(value: &Value, out: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(key, _)| key.as_str());
            for (key, value) in fields {
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                write_sorted(value, out);
                out.push(';');
            }
            out.push('}');
        }
        Value::Array(items) => {
            for item in items {
                write_sorted(item, out);
                out.push(',');
            }
            out.push(']');
        }
        plain => out.push_str(&plain.to_string()),
    }
}

/// BLAKE3 of what a request says. Shown as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RequestDigest([u8; 32]);

impl fmt::Display for RequestDigest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        blake3::Hash::from_bytes(self.0).to_hex().fmt(out)
    }
}

impl fmt::Debug for RequestDigest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl FromStr for RequestDigest {
    type Err = blake3::HexError;

    fn from_str(text: &str) -> Result<Self, blake3::HexError> {
        blake3::Hash::from_hex(text).map(|hash| Self(*hash.as_bytes()))
    }
}

impl TryFrom<String> for RequestDigest {
    type Error = blake3::HexError;

    fn try_from(text: String) -> Result<Self, blake3::HexError> {
        text.parse()
    }
}

impl From<RequestDigest> for String {
    fn from(digest: RequestDigest) -> Self {
        digest.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn request(texts: &[&str]) -> Request {
        let model = "ollama/any".parse().expect("a name");
        let messages = texts.iter().map(|text| Message::user(*text)).collect();
        Request::new(model, messages)
    }

    #[test]
    fn the_digest_is_of_what_is_said() {
        let plain = request(&["one", "two"]);
        let mut other = plain.clone();
        other.model = "replay:x".parse().expect("a name");
        assert_eq!(plain.digest(), other.digest(), "the model does not count");
        assert_ne!(plain.digest(), request(&["onetwo"]).digest());
        assert_ne!(plain.digest(), request(&["two", "one"]).digest());
        other.temperature = Some(0.5);
        assert_ne!(plain.digest(), other.digest());
        let shown = plain.digest().to_string();
        assert_eq!(
            shown.parse::<RequestDigest>().expect("a digest"),
            plain.digest()
        );
    }

    #[test]
    fn the_order_of_keys_in_a_schema_does_not_count() {
        let mut one = request(&["x"]);
        let mut two = one.clone();
        one.json_schema = Some(json!({"type": "object", "required": ["a", "b"]}));
        two.json_schema = Some(json!({"required": ["a", "b"], "type": "object"}));
        assert_eq!(one.digest(), two.digest());
        two.json_schema = Some(json!({"required": ["b", "a"], "type": "object"}));
        assert_ne!(one.digest(), two.digest());
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        assert!(request(&[]).problem().is_some());
        assert_eq!(request(&["x"]).problem(), None);
        let mut wrong = request(&["x"]);
        wrong.messages.push(Message::assistant("y"));
        assert!(wrong.problem().is_some());
        for temperature in [-1.0, 2.5, f64::NAN] {
            let mut wrong = request(&["x"]);
            wrong.temperature = Some(temperature);
            assert!(wrong.problem().is_some());
        }
    }
}
