//! JSON values that stay what they are on their way from a model or a guest to whoever asked.

use serde::Serialize;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

/// A JSON value in which integers of more than 64 bits are exact. A [`Value`] makes floats of them.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct Exact(Box<RawValue>);

impl Exact {
    /// What JSON stands for. It is kept as it was written only where it would be rounded.
    pub(crate) fn read(json: &str) -> serde_json::Result<Self> {
        if is_rounded(json) {
            return serde_json::from_str(json).map(Self);
        }
        let value: Value = serde_json::from_str(json)?;
        to_raw_value(&value).map(Self)
    }

    /// It as JSON.
    #[must_use]
    pub fn json(&self) -> &str {
        self.0.get()
    }

    /// It as a [`Value`]; `None` if that would be rounded.
    #[must_use]
    pub fn value(&self) -> Option<Value> {
        (!is_rounded(self.json())).then(|| self.rounded().ok())?
    }

    /// It as a [`Value`] in which large integers are floats.
    ///
    /// # Errors
    /// A number is larger than any float.
    pub(crate) fn rounded(&self) -> serde_json::Result<Value> {
        serde_json::from_str(self.json())
    }

    /// A text as it is, anything else as JSON.
    pub(crate) fn text(&self) -> String {
        let text = serde_json::from_str(self.json());
        text.unwrap_or_else(|_| self.json().to_owned())
    }

    pub(crate) fn is_string(&self) -> bool {
        self.json().starts_with('"')
    }
}

impl PartialEq for Exact {
    fn eq(&self, other: &Self) -> bool {
        self.json() == other.json()
    }
}

impl From<&str> for Exact {
    fn from(text: &str) -> Self {
        // A text always becomes JSON.
        Self(to_raw_value(text).unwrap_or_else(|_| RawValue::NULL.to_owned()))
    }
}

/// Whether JSON has an integer that a [`Value`] rounds: one of more than 64 bits becomes a float there.
fn is_rounded(json: &str) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

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
    }

    #[test]
    fn what_is_read_is_written_as_it_was() {
        let same = |json: &str| Exact::read(json).expect("JSON").json().to_owned();
        let large = "{\"n\": 100000000000000000000000000000001, \"f\": 0.1}";
        assert_eq!(same(large), large);
        assert_eq!(
            same("{\"a\": 1.50, \"a\": 2}"),
            "{\"a\":2}",
            "the value that was checked"
        );
        assert_eq!(Exact::read(large).expect("JSON").value(), None);
        assert!(Exact::read("nan").is_err() && Exact::read("").is_err());
        assert!(Exact::from("\"a\\").is_string());
    }
}
