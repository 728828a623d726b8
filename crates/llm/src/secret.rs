//! Keys that cannot be shown by accident, and the knife that cuts them out of texts.

use crate::{LlmError, Result};
use std::fmt;
use std::str::FromStr;

/// Longest key, in bytes.
pub const MAX_SECRET_BYTES: usize = 4096;

/// What stands where a key was.
const MASK: &str = "[secret]";

/// A key of a provider. Neither `Debug` nor `Display` shows any of it.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// The key itself. For the one place that puts it into a request.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl FromStr for Secret {
    type Err = LlmError;

    /// White space around the key is not part of it.
    ///
    /// # Errors
    /// [`LlmError::BadKey`] if it is empty, too long, or could not stand in an HTTP header. The
    /// error does not show it.
    fn from_str(text: &str) -> Result<Self> {
        let key = text.trim();
        if key.is_empty() {
            return Err(LlmError::BadKey("it is empty"));
        }
        if key.len() > MAX_SECRET_BYTES {
            return Err(LlmError::BadKey("it is longer than 4096 bytes"));
        }
        // Quotes and backslashes would be escaped in JSON, and then not be found there.
        let is_sound = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
        if !key.bytes().all(is_sound) {
            return Err(LlmError::BadKey(
                "it holds spaces, quotes, backslashes or other characters keys do not have",
            ));
        }
        Ok(Self(key.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(MASK)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(MASK)
    }
}

/// Cuts keys out of texts that others wrote.
#[derive(Clone, Debug, Default)]
pub struct Redactor(Vec<Secret>);

impl Redactor {
    /// One that cuts out these keys.
    #[must_use]
    pub fn new(secrets: impl IntoIterator<Item = Secret>) -> Self {
        let mut secrets: Vec<_> = secrets.into_iter().collect();
        // A key may begin with another one.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.0.len()));
        Self(secrets)
    }

    /// The text without the keys.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| {
            text.replace(secret.expose(), MASK)
        })
    }

    /// The beginning of a text, without the keys, on one line and printable: at most
    /// `max_chars` characters and an ellipsis. Keys are cut out first, so that none is cut in two.
    #[must_use]
    pub fn excerpt(&self, text: &str, max_chars: usize) -> String {
        shorten(&self.redact(text), max_chars)
    }
}

/// The beginning of a text on one line, printable: at most `max_chars` characters and an ellipsis.
pub(crate) fn shorten(text: &str, max_chars: usize) -> String {
    let line = text
        .trim()
        .chars()
        .map(|char| if char.is_control() { ' ' } else { char });
    let mut short: String = line.clone().take(max_chars).collect();
    if line.count() > max_chars {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_secret_is_not_shown() {
        let secret: Secret = " sk-abcdef\n".parse().expect("a key");
        assert_eq!(secret.expose(), "sk-abcdef");
        assert_eq!(
            format!("{secret} {secret:?} {secret:#?}"),
            "[secret] [secret] [secret]"
        );
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_shown() {
        let long = "x".repeat(MAX_SECRET_BYTES + 1);
        for text in [
            "",
            " \n",
            "zwei worte",
            "q\"uote",
            "back\\slash",
            "zeilen\numbruch",
            &long,
        ] {
            let error = text.parse::<Secret>().expect_err("no key").to_string();
            assert!(text.trim().is_empty() || !error.contains(text), "{error}");
        }
    }

    #[test]
    fn the_longer_of_two_keys_is_cut_out_whole() {
        let keys = ["sk-one", "sk-one-and-more"].map(|key| key.parse().expect("a key"));
        let redactor = Redactor::new(keys);
        assert_eq!(redactor.redact("<sk-one-and-more>"), "<[secret]>");
    }

    proptest! {
        #[test]
        fn no_key_survives(key in "[A-Za-z0-9-]{8,40}", before in ".{0,30}", after in ".{0,30}") {
            let redactor = Redactor::new([key.parse().expect("a key")]);
            let text = format!("{before}{key}{after}");
            prop_assert!(!redactor.redact(&text).contains(&key));
            prop_assert!(!redactor.excerpt(&text, 20).contains(&key));
        }
    }
}
