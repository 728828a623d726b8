//! The lines of a replay: their format, and their total decoding.

use crate::{Cost, FailureKind, FinishReason, Request, RequestDigest, Usage};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The version of the format, which every line carries.
pub const VERSION: u32 = 1;
/// Largest file, in bytes.
pub const MAX_FILE_BYTES: u64 = 64 << 20;
/// Longest line, in bytes.
pub const MAX_LINE_BYTES: usize = 8 << 20;
/// Most lines of a file.
pub const MAX_LINES: usize = 100_000;
/// Longest delay, in milliseconds: an hour.
pub const MAX_DELAY_MS: u64 = 3_600_000;

/// One line: which request it answers, and how. Of `reply` and `failure` there is exactly one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// [`VERSION`].
    pub version: u32,
    /// Which requests it answers.
    pub when: When,
    /// When it is its turn.
    #[serde(default)]
    pub order: Order,
    /// Whether it can be played any number of times. Only together with [`Order::Any`].
    #[serde(default, skip_serializing_if = "is_false")]
    pub repeat: bool,
    /// How long the answer takes, in milliseconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub delay_ms: u64,
    /// What is answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<PlayedReply>,
    /// How the call fails instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<PlayedFailure>,
    /// For people. The recorder puts the beginning of the last message here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Which requests a line answers: those for which all that is said here holds. If nothing is said
/// it answers any request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct When {
    /// The request is this one: [`Request::digest`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<RequestDigest>,
    /// Each of these texts is in one of its messages.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub contains: Vec<String>,
    /// Each of these texts is in its last message.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub last_contains: Vec<String>,
}

/// When it is a line's turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// After all lines above it that are in order.
    #[default]
    InOrder,
    /// Whenever its request comes, if the next line in order is not for it.
    Any,
}

/// A reply that is played.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlayedReply {
    /// The text. A stream brings it line by line.
    pub text: String,
    /// Why it ends.
    #[serde(default = "stop")]
    pub finish: FinishReason,
    /// Tokens used; estimated, and marked so, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// What the call cost when it was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
    /// The model that replied then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

/// A failure that is played.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlayedFailure {
    /// What happens.
    pub kind: FailureKind,
    /// Who failed when it was recorded; `replay` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Requests made then; 1 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// What is said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The HTTP status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// How long the provider asks to wait, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// Tokens used all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// What that cost when it was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
    /// Text that a stream brings before it fails.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub after: String,
}

fn stop() -> FinishReason {
    FinishReason::Stop
}

// serde hands over a reference.
fn is_false(value: &bool) -> bool {
    !value
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

impl Line {
    /// A line of a file, if it is one; else what is wrong with it, for people.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_LINE_BYTES {
            return Err(format!("it is longer than {MAX_LINE_BYTES} bytes"));
        }
        // The version first: a line of another one may have other fields.
        let version: Version = serde_json::from_str(text).map_err(|cause| cause.to_string())?;
        if version.version != VERSION {
            let found = version.version;
            return Err(format!("it is of version {found}; known is {VERSION}"));
        }
        let line: Self = serde_json::from_str(text).map_err(|cause| cause.to_string())?;
        if line.reply.is_some() == line.failure.is_some() {
            return Err("it needs either a reply or a failure".to_owned());
        }
        if line.repeat && line.order != Order::Any {
            return Err("only a line of order \"any\" can repeat".to_owned());
        }
        if line.delay_ms > MAX_DELAY_MS {
            return Err(format!("the delay is more than {MAX_DELAY_MS} ms"));
        }
        Ok(line)
    }
}

/// The one field that all versions have.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

impl When {
    /// Whether it answers this request.
    pub(super) fn fits(&self, request: &Request, digest: RequestDigest) -> bool {
        let messages = &request.messages;
        let anywhere = |part: &String| messages.iter().any(|message| message.text.contains(part));
        let at_the_end = |part: &String| {
            let last = messages.last();
            last.is_some_and(|message| message.text.contains(part))
        };
        self.digest.is_none_or(|expected| expected == digest)
            && self.contains.iter().all(anywhere)
            && self.last_contains.iter().all(at_the_end)
    }
}

impl fmt::Display for When {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if let Some(digest) = &self.digest {
            parts.push(format!("the request {}", short(&digest.to_string(), 12)));
        }
        for (where_, texts) in [("", &self.contains), (" at the end", &self.last_contains)] {
            let shown = texts
                .iter()
                .map(|text| format!("`{}`{where_}", short(text, 80)));
            parts.extend(shown);
        }
        match parts.is_empty() {
            true => out.write_str("any request"),
            false => out.write_str(&parts.join(" and ")),
        }
    }
}

fn short(text: &str, max_chars: usize) -> String {
    crate::secret::shorten(text, max_chars)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_short_line_is_enough() {
        let line = r#"{"version":1,"when":{"contains":["sum"]},"reply":{"text":"4"}}"#;
        let line = Line::parse(line).expect("a line");
        assert_eq!(line.order, Order::InOrder);
        assert_eq!(line.reply.expect("a reply").finish, FinishReason::Stop);
    }

    #[test]
    fn what_is_no_line_is_refused_and_named() {
        for (text, reason) in [
            ("", "EOF"),
            ("[]", "Version"),
            (r#"{"version":2,"later":1}"#, "version 2"),
            (r#"{"version":1,"when":{}}"#, "either"),
            (r#"{"version":1,"reply":{"text":""}}"#, "when"),
            (
                r#"{"version":1,"when":{"contain":[]},"reply":{"text":""}}"#,
                "contain",
            ),
            (
                r#"{"version":1,"when":{"digest":"ab"},"reply":{"text":""}}"#,
                "hex",
            ),
            (
                r#"{"version":1,"when":{},"repeat":true,"reply":{"text":""}}"#,
                "repeat",
            ),
            (
                r#"{"version":1,"when":{},"delay_ms":99999999,"reply":{"text":""}}"#,
                "delay",
            ),
            (
                r#"{"version":1,"when":{},"failure":{"kind":"tired"}}"#,
                "tired",
            ),
        ] {
            let error = Line::parse(text).expect_err(text);
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_decoder(text in "\\PC{0,200}") {
            let _ = Line::parse(&text);
        }

        #[test]
        fn no_json_breaks_the_decoder(
            field in "[a-z_]{1,10}", value in r#"(-?[0-9]{1,25}|"[a-z]{0,9}"|\[\{\}\]|null)"#,
        ) {
            let _ = Line::parse(&format!(r#"{{"version":1,"when":{{}},"{field}":{value}}}"#));
        }

        #[test]
        fn what_is_written_is_read(
            text in ".{0,80}", contains in prop::collection::vec(".{0,20}", 0..3),
            delay_ms in 0..=MAX_DELAY_MS, tokens: u64, is_any: bool,
        ) {
            let usage = Usage { prompt_tokens: tokens, completion_tokens: 1, is_estimated: is_any };
            let line = Line {
                version: VERSION,
                when: When { contains, ..When::default() },
                order: if is_any { Order::Any } else { Order::InOrder },
                repeat: is_any,
                delay_ms,
                reply: Some(PlayedReply {
                    text, finish: FinishReason::Length, usage: Some(usage), cost: None, model: None,
                }),
                failure: None,
                note: None,
            };
            let written = serde_json::to_string(&line).expect("JSON");
            prop_assert!(!written.contains('\n'));
            prop_assert_eq!(Line::parse(&written).expect("a line"), line);
        }
    }
}
