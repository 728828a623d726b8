//! The Terraphim JSON of a thesaurus.
//!
//! ```json
//! {"name": "Engineering", "data": {"pile": {"id": 1, "nterm": "reactor", "url": null}}}
//! ```
//!
//! Source: `Thesaurus`, `NormalizedTerm` and `NormalizedTermValue` in the crate `terraphim_types`,
//! and `parse_thesaurus_json` in `terraphim_automata` (<https://github.com/terraphim/terraphim-ai>,
//! June 2026). As there, unknown fields are ignored, and terms are trimmed and put in lower case.
//! Beyond it: sizes are bounded; a term that is empty or has control characters, or two spellings
//! of one term that name different concepts, are errors, where Terraphim drops one silently. Its
//! older flat form, a map of terms without a name, is not read.

use super::{Concept, Limits, Term, Thesaurus};
use crate::{KgError, Result};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeStruct, Serializer};
use std::collections::BTreeMap;
use std::fmt;

/// What stands in the file, before it is checked.
#[derive(serde::Deserialize)]
struct Written {
    name: String,
    data: Entries,
    #[serde(default)]
    source_hash: Option<String>,
}

/// The entries in the order of the file; a key may be there twice.
struct Entries(Vec<(String, Concept)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_map(EntriesVisitor)
    }
}

struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = Entries;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a map from terms to concepts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Entries(entries))
    }
}

impl Thesaurus {
    /// Reads a thesaurus in Terraphim's JSON.
    ///
    /// # Errors
    /// [`KgError::TooLarge`] beyond the limits, [`KgError::Json`] for what is no such JSON,
    /// [`KgError::BadTerm`] and [`KgError::Conflict`] for terms that are none or name two concepts.
    pub fn from_json(json: &[u8], limits: &Limits) -> Result<Self> {
        if json.len() > limits.file_bytes {
            return Err(KgError::TooLarge {
                what: "bytes of the thesaurus",
                actual: json.len(),
                limit: limits.file_bytes,
            });
        }
        let written: Written = serde_json::from_slice(json)?;
        let mut thesaurus = Self {
            name: written.name,
            source_hash: written.source_hash,
            terms: BTreeMap::new(),
            most_terms: limits.terms,
        };
        for (text, concept) in written.data.0 {
            thesaurus.insert(text.parse::<Term>()?, concept)?;
        }
        Ok(thesaurus)
    }

    /// Writes it in Terraphim's JSON: a term a line, in the order of the terms, so that equal
    /// thesauri are equal files. What was ignored on reading is not there.
    ///
    /// # Errors
    /// [`KgError::Json`] should the JSON library fail, for which there is no known cause.
    pub fn to_json(&self) -> Result<String> {
        let mut json = serde_json::to_string_pretty(self)?;
        json.push('\n');
        Ok(json)
    }
}

impl Serialize for Thesaurus {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        let mut fields = output.serialize_struct("Thesaurus", 3)?;
        fields.serialize_field("name", &self.name)?;
        fields.serialize_field("data", &self.terms)?;
        match &self.source_hash {
            Some(hash) => fields.serialize_field("source_hash", hash)?,
            None => fields.skip_field("source_hash")?,
        }
        fields.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Thesaurus> {
        Thesaurus::from_json(json.as_bytes(), &Limits::default())
    }

    #[test]
    fn what_terraphim_writes_is_read() {
        let thesaurus = read(
            r#"{"name": "Engineering", "source_hash": "ab", "later": [1], "data": {
                " Foo ": {"id": 1, "nterm": "foo", "url": null, "pinned": false, "later": {}},
                "bar": {"id": 18446744073709551615, "nterm": "bar", "display_value": "Bar",
                        "url": "https://x", "action": "a", "priority": 3, "trigger": "t", "pinned": true},
                "baz": {"id": 1, "nterm": "foo"}}}"#,
        )
        .expect("a thesaurus");
        assert_eq!(thesaurus.name(), "Engineering");
        assert_eq!(thesaurus.len(), 3);
        assert_eq!(thesaurus.get("FOO"), thesaurus.get("baz"));
        let again = read(&thesaurus.to_json().expect("JSON")).expect("a thesaurus");
        assert_eq!(again, thesaurus);
    }

    #[test]
    fn what_is_no_thesaurus_is_refused() {
        for json in [
            "",
            "null",
            "[]",
            "{}",
            "{\"name\": \"x\"}",
            "{\"data\": {}}",
            "{\"a\": {\"id\": 1, \"nterm\": \"a\"}}",
            r#"{"name": "x", "data": {"a": {"id": -1, "nterm": "a"}}}"#,
            r#"{"name": "x", "data": {"a": {"id": 1.5, "nterm": "a"}}}"#,
            r#"{"name": "x", "data": {"a": {"nterm": "a"}}}"#,
            r#"{"name": "x", "data": {"a": {"id": 1}}}"#,
            r#"{"name": "x", "data": []}"#,
            r#"{"name": "x", "data": {}} {}"#,
            r#"{"name": "x", "name": "y", "data": {}}"#,
        ] {
            assert!(matches!(read(json), Err(KgError::Json(_))), "{json}");
        }
        let deep = format!(
            "{{\"name\": \"x\", \"data\": {{}}, \"y\": {}",
            "[".repeat(1_000_000)
        );
        assert!(matches!(read(&deep), Err(KgError::Json(_))));
        let not_utf8 = b"{\"name\": \"\xff\", \"data\": {}}";
        let error = Thesaurus::from_json(not_utf8, &Limits::default());
        assert!(matches!(error, Err(KgError::Json(_))));
    }

    #[test]
    fn terms_that_are_none_or_disagree_are_refused() {
        for term in ["", "  ", r"a\u0000b", r"\n"] {
            let json =
                format!(r#"{{"name": "x", "data": {{"{term}": {{"id": 1, "nterm": "a"}}}}}}"#);
            assert!(
                matches!(read(&json), Err(KgError::BadTerm { .. })),
                "{json}"
            );
        }
        let two = |id| {
            format!(
                r#"{{"name": "x", "data": {{"a": {{"id": 1, "nterm": "a"}}, "A ": {{"id": {id}, "nterm": "a"}}}}}}"#
            )
        };
        assert_eq!(read(&two(1)).expect("agreement").len(), 1);
        assert!(matches!(read(&two(2)), Err(KgError::Conflict { .. })));
    }

    #[test]
    fn limits_are_kept() {
        let json = br#"{"name": "x", "data": {"a": {"id": 1, "nterm": "a"}, "b": {"id": 1, "nterm": "a"}}}"#;
        for limits in [
            Limits {
                file_bytes: json.len() - 1,
                ..Limits::default()
            },
            Limits {
                terms: 1,
                ..Limits::default()
            },
        ] {
            let error = Thesaurus::from_json(json, &limits);
            assert!(matches!(error, Err(KgError::TooLarge { .. })));
        }
    }

    #[test]
    fn it_is_written_in_order() {
        let thesaurus = read(
            r#"{"data": {"b": {"id": 2, "nterm": "B"}, "a": {"id": 1, "nterm": "a"}}, "name": "x"}"#,
        );
        let json = thesaurus.expect("a thesaurus").to_json().expect("JSON");
        let line: String = json.split_whitespace().collect();
        assert_eq!(
            line,
            r#"{"name":"x","data":{"a":{"id":1,"nterm":"a"},"b":{"id":2,"nterm":"B"}}}"#
        );
    }
}
