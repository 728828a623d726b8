//! Names and ids. A value of one of these types is safe as a file name and on a terminal.

use crate::{Result, SandboxError};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Longest name, in bytes.
pub const MAX_NAME_BYTES: usize = 64;

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl FromStr for $type {
            type Err = SandboxError;

            fn from_str(text: &str) -> Result<Self> {
                check($what, text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $type {
            type Error = SandboxError;

            fn try_from(text: String) -> Result<Self> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }

        impl $type {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
    };
}

name!(
    /// What a user calls a session.
    SessionName,
    "session name"
);
name!(
    /// What a user calls a snapshot. Unique in its session.
    SnapshotName,
    "snapshot name"
);

/// Letters, digits, `-`, `_` and `.`, beginning with a letter or digit.
fn check(what: &'static str, text: &str) -> Result<()> {
    let first_is_sound = text.starts_with(|first: char| first.is_ascii_alphanumeric());
    let all_are_sound = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if first_is_sound && all_are_sound && text.len() <= MAX_NAME_BYTES {
        return Ok(());
    }
    Err(SandboxError::BadName {
        what,
        shown: text.chars().take(40).flat_map(char::escape_debug).collect(),
    })
}

macro_rules! id {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub struct $type(#[serde(with = "uuid::serde::simple")] uuid::Uuid);

        impl $type {
            /// A new one, unguessable: 122 random bits.
            #[must_use]
            pub fn random() -> Self {
                Self(uuid::Uuid::new_v4())
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.simple().fmt(out)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.simple().fmt(out)
            }
        }

        impl FromStr for $type {
            type Err = uuid::Error;

            fn from_str(text: &str) -> std::result::Result<Self, uuid::Error> {
                uuid::Uuid::parse_str(text).map(Self)
            }
        }
    };
}

id!(
    /// Names a session.
    SessionId
);
id!(
    /// Names a snapshot.
    SnapshotId
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_no_file_names_are_refused() {
        let long = "x".repeat(10_000);
        for text in [
            "", ".", "..", "../x", "a/b", "-x", "a b", "a\0", "é", "a\n", &long,
        ] {
            assert!(text.parse::<SnapshotName>().is_err(), "{text:?}");
            assert!(text.parse::<SessionName>().is_err(), "{text:?}");
        }
        for text in ["a", "before", "v1.2_x-y", &long[..MAX_NAME_BYTES]] {
            assert!(text.parse::<SnapshotName>().is_ok(), "{text:?}");
        }
    }

    #[test]
    fn ids_survive_being_shown() {
        let id = SessionId::random();
        assert_eq!(id.to_string().parse::<SessionId>().expect("an id"), id);
        assert_ne!(id, SessionId::random());
    }
}
