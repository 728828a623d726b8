//! Names of images.

use crate::ImageError;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Longest name, in bytes.
const MAX_NAME_BYTES: usize = 64;

/// The name of the guest's own image, which is nobody's to make or remove.
pub const BASE: &str = "linux";

/// What a user calls an image. Safe as a file name and on a terminal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageName(String);

impl ImageName {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Letters, digits, `-`, `_` and `.`, beginning with a letter or digit, as names of sessions.
impl FromStr for ImageName {
    type Err = ImageError;

    fn from_str(text: &str) -> Result<Self, ImageError> {
        let first_is_sound = text.starts_with(|first: char| first.is_ascii_alphanumeric());
        let all_are_sound = text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if first_is_sound && all_are_sound && text.len() <= MAX_NAME_BYTES {
            return Ok(Self(text.to_owned()));
        }
        Err(ImageError::BadName {
            shown: text.chars().take(40).flat_map(char::escape_debug).collect(),
        })
    }
}

impl TryFrom<String> for ImageName {
    type Error = ImageError;

    fn try_from(text: String) -> Result<Self, ImageError> {
        text.parse()
    }
}

impl From<ImageName> for String {
    fn from(name: ImageName) -> Self {
        name.0
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}
