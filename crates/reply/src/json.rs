//! JSON as models write it. Strict JSON is tried first. Failing that, the text is rewritten: models put
//! raw line ends into strings, use Python's quotes and `True`, and leave a comma at the end.

use serde_json::{Deserializer, Value};

/// The values that a text consists of, one after the other. The error is the strict reader's, in words.
pub(crate) fn values(text: &str) -> Result<Vec<Value>, String> {
    strict(text).or_else(|error| {
        rewritten(text)
            .and_then(|json| strict(&json).ok())
            .ok_or_else(|| error.to_string())
    })
}

/// Whether a text begins as a JSON object or list does.
pub(crate) fn begins(text: &str) -> bool {
    text.trim_start().starts_with(['{', '['])
}

fn strict(text: &str) -> serde_json::Result<Vec<Value>> {
    Deserializer::from_str(text).into_iter().collect()
}

/// A Python literal or sloppy JSON as JSON; none if a string in it never closes.
fn rewritten(text: &str) -> Option<String> {
    let mut json = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        at += match first {
            '"' | '\'' => string(rest, first, &mut json)?,
            '}' | ']' => {
                // Without the comma before it.
                let kept = json.trim_end().len();
                if json[..kept].ends_with(',') {
                    json.truncate(kept - 1);
                }
                json.push(first);
                1
            }
            _ if first.is_alphabetic() => {
                let length = rest.find(|c: char| !c.is_alphanumeric());
                let word = &rest[..length.unwrap_or(rest.len())];
                json.push_str(match word {
                    "True" => "true",
                    "False" => "false",
                    "None" => "null",
                    word => word,
                });
                word.len()
            }
            _ => {
                json.push(first);
                first.len_utf8()
            }
        };
    }
    Some(json)
}

/// Writes the string that begins here as a JSON string; returns its length.
fn string(rest: &str, quote: char, json: &mut String) -> Option<usize> {
    let is_triple = rest[1..].starts_with(&[quote; 2].iter().collect::<String>());
    let delimiter = &rest[..if is_triple { 3 } else { 1 }];
    json.push('"');
    let mut at = delimiter.len();
    loop {
        let tail = rest.get(at..)?;
        if tail.starts_with(delimiter) {
            json.push('"');
            return Some(at + delimiter.len());
        }
        let mut characters = tail.chars();
        let first = characters.next()?;
        at += first.len_utf8();
        if first != '\\' {
            plain(first, json);
            continue;
        }
        let escaped = characters.next()?;
        at += escaped.len_utf8();
        match escaped {
            '"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't' | 'u' => json.extend(['\\', escaped]),
            '\'' => json.push('\''),
            // Python joins the lines.
            '\n' => {}
            // Python keeps a backslash that means nothing.
            other => {
                json.push_str("\\\\");
                plain(other, json);
            }
        }
    }
}

fn plain(plain: char, json: &mut String) {
    match plain {
        '"' => json.push_str("\\\""),
        '\n' => json.push_str("\\n"),
        '\t' => json.push_str("\\t"),
        control if control < ' ' => json.push(' '),
        other => json.push(other),
    }
}
