//! Reads JSON as models write it.
//!
//! Strict JSON is tried first. Failing that, the text is rewritten: models put
//! raw line ends into strings, use Python's quotes and `True`, and leave a comma
//! at the end.

use serde_json::{Deserializer, Value};

/// The values that a text consists of, one after the other.
///
/// The error is the strict reader's, in words for the model.
pub(super) fn values(text: &str) -> Result<Vec<Value>, String> {
    strict(text).or_else(|error| {
        let rewritten = rewritten(text).ok_or_else(|| error.to_string())?;
        strict(&rewritten).map_err(|_| error.to_string())
    })
}

/// Whether a text begins as a JSON object or list does.
pub(super) fn begins(text: &str) -> bool {
    text.trim_start().starts_with(['{', '['])
}

/// A value as text: a string's content, or else its JSON.
pub(super) fn as_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn strict(text: &str) -> serde_json::Result<Vec<Value>> {
    Deserializer::from_str(text).into_iter().collect()
}

/// Rewrites a Python literal or sloppy JSON as JSON; none if a string in it
/// never closes.
fn rewritten(text: &str) -> Option<String> {
    let mut json = String::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let first = rest.chars().next()?;
        at += match first {
            '"' | '\'' => rewrite_string(rest, first, &mut json)?,
            '}' | ']' => {
                drop_trailing_comma(&mut json);
                json.push(first);
                1
            }
            _ if first.is_alphabetic() => rewrite_word(rest, &mut json),
            _ => {
                json.push(first);
                first.len_utf8()
            }
        };
    }
    Some(json)
}

fn drop_trailing_comma(json: &mut String) {
    let kept = json.trim_end();
    if let Some(kept) = kept.strip_suffix(',') {
        json.truncate(kept.len());
    }
}

/// Writes a word, with Python's constants as JSON's; returns its length.
fn rewrite_word(rest: &str, json: &mut String) -> usize {
    let length = rest
        .find(|c: char| !c.is_alphanumeric())
        .unwrap_or(rest.len());
    json.push_str(match &rest[..length] {
        "True" => "true",
        "False" => "false",
        "None" => "null",
        word => word,
    });
    length
}

/// Writes the string that begins here as a JSON string; returns its length.
fn rewrite_string(rest: &str, quote: char, json: &mut String) -> Option<usize> {
    let triple = rest.chars().take(3).filter(|&c| c == quote).count() == 3;
    let width = if triple { 3 } else { 1 };
    let delimiter = &rest[..width];
    json.push('"');
    let mut at = width;
    loop {
        let tail = rest.get(at..)?;
        if tail.starts_with(delimiter) {
            json.push('"');
            return Some(at + width);
        }
        let mut characters = tail.chars();
        match characters.next()? {
            '\\' => {
                let escaped = characters.next()?;
                push_escape(escaped, json);
                at += 1 + escaped.len_utf8();
            }
            plain => {
                push_plain(plain, json);
                at += plain.len_utf8();
            }
        }
    }
}

/// Writes what a backslash and this character mean.
fn push_escape(escaped: char, json: &mut String) {
    match escaped {
        '"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't' | 'u' => {
            json.push('\\');
            json.push(escaped);
        }
        '\'' => json.push('\''),
        // Python joins the lines.
        '\n' => {}
        // Python keeps a backslash that means nothing.
        other => {
            json.push_str("\\\\");
            push_plain(other, json);
        }
    }
}

fn push_plain(plain: char, json: &mut String) {
    match plain {
        '"' => json.push_str("\\\""),
        '\n' => json.push_str("\\n"),
        '\t' => json.push_str("\\t"),
        '\r' => json.push_str("\\r"),
        control if control < ' ' => json.push(' '),
        other => json.push(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn good_json_is_read_as_it_is() {
        assert_eq!(
            values("{\"a\": [1, null]}"),
            Ok(vec![json!({"a": [1, null]})])
        );
        assert_eq!(
            values("{} \n {\"b\": \"\\u00e9\"}"),
            Ok(vec![json!({}), json!({"b": "é"})])
        );
    }

    #[test]
    fn sloppy_json_is_read_as_it_is_meant() {
        let cases = [
            ("{\"code\": \"a\nb\tc\"}", json!({"code": "a\nb\tc"})),
            ("{'a': True, 'b': None}", json!({"a": true, "b": null})),
            ("{\"a\": [1, 2,],\n}", json!({"a": [1, 2]})),
            ("{'a': 'it\\'s \"so\"'}", json!({"a": "it's \"so\""})),
            ("{'a': '''x\n'y' '''}", json!({"a": "x\n'y' "})),
            ("{\"a\": \"\\d+\\s\"}", json!({"a": "\\d+\\s"})),
            ("{'a': ''}", json!({"a": ""})),
            ("{'a': 'x\\\ny'}", json!({"a": "xy"})),
        ];
        for (text, value) in cases {
            assert_eq!(values(text), Ok(vec![value]), "{text}");
        }
    }

    #[test]
    fn what_is_not_json_is_an_error_in_words() {
        for text in ["{", "{\"a\": \"b", "{a}", "[1 2]", "{'a': x}", "{'a': 1"] {
            let error = values(text).expect_err("an error");
            assert!(error.contains("line 1"), "{text}: {error}");
        }
        assert!(values(&"[".repeat(100_000)).is_err());
    }

    #[test]
    fn a_value_becomes_text() {
        assert_eq!(as_text(&json!("a\"b")), "a\"b");
        assert_eq!(as_text(&json!([1, "x"])), "[1,\"x\"]");
    }
}
