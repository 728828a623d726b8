//! What an image has beside the guest's own packages.

use super::lock::Lock;
use crate::store::Key;
use crate::{ImageError, Result};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Most packages of one kind that are asked for by name.
const MAX_PACKAGES: usize = 1000;

/// What is asked for. The guest's own image is the empty one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Names of Debian's packages, maybe with `=version`.
    pub packages: Vec<String>,
    /// Requirements of Python packages, as pip reads them.
    pub pip: Vec<String>,
    /// What the image has to equal, as text.
    pub lock: Option<String>,
    /// Digest of the archive of files.
    pub files: Option<String>,
    /// The archive of files, a tar.
    #[serde(skip)]
    pub files_path: Option<PathBuf>,
}

impl Recipe {
    /// Adds packages of Debian.
    ///
    /// # Errors
    /// [`ImageError::BadPackage`] for what is no name of a package.
    pub fn add_packages<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) -> Result<()> {
        add(&mut self.packages, names, "a Debian package", |name| {
            let (name, version) = name.split_once('=').unwrap_or((name, "1"));
            has_only(name, b"+-.") && has_only(version, b"+-.:~")
        })
    }

    /// Adds packages of Python.
    ///
    /// # Errors
    /// [`ImageError::BadPackage`] for what is no requirement by name and version: options, paths, addresses.
    pub fn add_pip<'a>(&mut self, requirements: impl IntoIterator<Item = &'a str>) -> Result<()> {
        add(&mut self.pip, requirements, "a Python package", |word| {
            has_only(word, b"-_.[],=<>!~*+")
        })
    }

    /// Names the root: the recipe, and `base`, what all roots are made by.
    pub(crate) fn key(&self, base: &[&str]) -> Key {
        let parts = [self.packages.join(" "), self.pip.join(" ")];
        let optional = [&self.lock, &self.files].map(|part| part.as_deref().unwrap_or_default());
        let own = parts.iter().map(String::as_str).chain(optional);
        let is_plain = *self == Self::default();
        let own = own.filter(|_| !is_plain);
        Key::of(base.iter().copied().chain(own).map(str::as_bytes))
    }

    /// The lock, read.
    pub(super) fn locked(&self) -> Result<Option<Lock>> {
        self.lock.as_deref().map(str::parse).transpose()
    }
}

fn has_only(word: &str, also: &[u8]) -> bool {
    word.starts_with(|first: char| first.is_ascii_alphanumeric())
        && word.len() <= 200
        && word
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || also.contains(&byte))
}

/// Adds words in order, each once.
fn add<'a>(
    list: &mut Vec<String>,
    words: impl IntoIterator<Item = &'a str>,
    what: &'static str,
    is_sound: impl Fn(&str) -> bool,
) -> Result<()> {
    for word in words {
        if !is_sound(word) || list.len() >= MAX_PACKAGES {
            return Err(ImageError::BadPackage {
                what,
                shown: word.chars().take(60).flat_map(char::escape_debug).collect(),
            });
        }
        if !list.iter().any(|known| known == word) {
            list.push(word.to_owned());
        }
    }
    list.sort();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_paths_and_addresses_are_no_packages() {
        let mut recipe = Recipe::default();
        for word in [
            "",
            "-o",
            "--pre",
            "a b",
            "./x",
            "http://x/y",
            "x @ file:///y",
            "x;y",
            "$(id)",
            "a,b|",
        ] {
            assert!(recipe.add_pip([word]).is_err(), "{word}");
            assert!(recipe.add_packages([word]).is_err(), "{word}");
        }
        recipe
            .add_packages(["sl", "cowsay=3.03+dfsg2-8", "sl"])
            .expect("packages");
        assert_eq!(recipe.packages, ["cowsay=3.03+dfsg2-8", "sl"]);
        recipe
            .add_pip(["x==1", "y[all]>=2,<3"])
            .expect("requirements");
    }

    #[test]
    fn keys_tell_recipes_apart() {
        let plain = Recipe::default();
        let with = Recipe {
            packages: vec!["sl".to_owned()],
            ..Recipe::default()
        };
        let other = Recipe {
            pip: vec!["sl".to_owned()],
            ..Recipe::default()
        };
        let keys = [
            plain.key(&["a"]),
            with.key(&["a"]),
            other.key(&["a"]),
            plain.key(&["b"]),
        ];
        for (at, key) in keys.iter().enumerate() {
            assert!(keys[..at].iter().all(|before| before != key), "{at}");
        }
    }
}
