//! What an image was made from, to the digest: one line for each package.
//!
//! ```text
//!   deb sl 5.02-1+b1 amd64 sha256:...        as the archive's signed index says
//!   kernel linux-image-6.1.0-56-cloud-amd64 6.1.187-1 amd64 sha256:...
//!   pip cowsay 6.1 py3-none-any sha256:...   as pip says of the wheel it downloaded
//! ```

use crate::ImageError;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

const HEAD: &str = "# ukernel image lock 1";

/// Most bytes of a lock. A thousand packages take 130 KiB.
pub const MAX_LOCK_BYTES: usize = 4 << 20;

/// Packages by kind and name; with version, architecture and digest. Sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lock(BTreeMap<(String, String), String>);

impl Lock {
    pub(super) fn add(&mut self, kind: &str, name: &str, version: &str, arch: &str, sha256: &str) {
        let rest = format!("{version} {arch} sha256:{sha256}");
        self.0.insert((kind.to_owned(), name.to_owned()), rest);
    }

    /// Names and versions of a kind of package.
    pub(super) fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let own = self.0.iter().filter(move |((of, _), _)| of == kind);
        own.map(|((_, name), rest)| (name.as_str(), rest.split(' ').next().unwrap_or_default()))
    }

    /// Keeps of this kind what is wanted.
    pub(super) fn retain(&mut self, kind: &str, wanted: impl Fn(&str, &str) -> bool) {
        self.0.retain(|(of, name), rest| {
            of != kind || wanted(name, rest.split(' ').next().unwrap_or_default())
        });
    }

    /// Takes over what another one has.
    pub(super) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// What `found` has otherwise, each with its name.
    pub(super) fn differences(&self, found: &Self) -> Vec<String> {
        let keys: std::collections::BTreeSet<_> = self.0.keys().chain(found.0.keys()).collect();
        let of = |lock: &Self, key| lock.0.get(key).cloned().unwrap_or("nothing".to_owned());
        keys.into_iter()
            .filter(|key| self.0.get(*key) != found.0.get(*key))
            .map(|key| {
                let (locked, found) = (of(self, key), of(found, key));
                format!("{} {}: locked {locked}, found {found}", key.0, key.1)
            })
            .collect()
    }
}

impl fmt::Display for Lock {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{HEAD}")?;
        self.0
            .iter()
            .try_for_each(|((kind, name), rest)| writeln!(out, "{kind} {name} {rest}"))
    }
}

impl FromStr for Lock {
    type Err = ImageError;

    fn from_str(text: &str) -> Result<Self, ImageError> {
        let bad = |line: usize, what: &str| ImageError::BadLock {
            line,
            what: what.to_owned(),
        };
        if text.len() > MAX_LOCK_BYTES {
            return Err(bad(1, "it is too long"));
        }
        let mut lines = text.lines().zip(1..);
        if lines.next().is_none_or(|(line, _)| line != HEAD) {
            return Err(bad(1, &format!("it does not begin with `{HEAD}`")));
        }
        let mut lock = Self::default();
        for (line, number) in lines {
            let fields: Vec<&str> = line.split(' ').collect();
            let [kind, name, version, arch, digest] = fields[..] else {
                return Err(bad(number, "it has not five words"));
            };
            if !["deb", "kernel", "pip"].contains(&kind) {
                return Err(bad(number, "it begins with none of deb, kernel, pip"));
            }
            // They become arguments of apt and pip.
            let is_sound = |word: &str| {
                word.starts_with(|first: char| first.is_ascii_alphanumeric())
                    && word
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || b"-_.+:~!".contains(&byte))
            };
            let sha256 = digest.strip_prefix("sha256:").unwrap_or_default();
            let is_digest =
                sha256.len() == 64 && sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
            if !is_digest || ![name, version, arch].into_iter().all(is_sound) {
                return Err(bad(number, "name, version, architecture or digest is none"));
            }
            if lock.0.contains_key(&(kind.to_owned(), name.to_owned())) {
                return Err(bad(number, "the package is there twice"));
            }
            lock.add(kind, name, version, arch, sha256);
        }
        Ok(lock)
    }
}

/// Reads what `apt-cache show` prints.
pub(super) fn of_index(kind: &str, stanzas: &str) -> Result<Lock, ImageError> {
    let mut lock = Lock::default();
    for stanza in stanzas
        .split("\n\n")
        .filter(|stanza| !stanza.trim().is_empty())
    {
        let field = |name: &str| {
            let values = stanza.lines().find_map(|line| line.strip_prefix(name));
            values.map(str::trim).ok_or_else(|| ImageError::Tool {
                step: "reading the index of packages".to_owned(),
                status: format!("no `{name}`"),
                output: stanza.chars().take(400).collect(),
            })
        };
        lock.add(
            kind,
            field("Package:")?,
            field("Version:")?,
            field("Architecture:")?,
            field("SHA256:")?,
        );
    }
    Ok(lock)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn digest(letter: char) -> String {
        std::iter::repeat_n(letter, 64).collect()
    }

    #[test]
    fn a_lock_survives_being_written() {
        let stanza = |name: &str, letter| {
            format!(
                "Package: {name}\nVersion: 1:2~3\nArchitecture: all\nSHA256: {}\n",
                digest(letter)
            )
        };
        let index = format!("{}\n{}", stanza("b", 'b'), stanza("a", 'a'));
        let lock = of_index("deb", &index).expect("an index");
        assert_eq!(
            lock.of_kind("deb").collect::<Vec<_>>(),
            [("a", "1:2~3"), ("b", "1:2~3")]
        );
        assert_eq!(lock.to_string().parse::<Lock>().expect("a lock"), lock);
        assert!(
            of_index("deb", "Package: a\nVersion: 1\n").is_err(),
            "no digest"
        );
    }

    #[test]
    fn every_difference_is_named() {
        let (mut one, mut other) = (Lock::default(), Lock::default());
        one.add("deb", "same", "1", "all", &digest('a'));
        other.add("deb", "same", "1", "all", &digest('a'));
        one.add("deb", "newer", "1", "all", &digest('a'));
        other.add("deb", "newer", "2", "all", &digest('b'));
        one.add("deb", "gone", "1", "all", &digest('a'));
        other.add("pip", "more", "1", "any", &digest('a'));
        let said = one.differences(&other).join("\n");
        for part in [
            "gone: locked 1 all",
            "newer: locked 1 all",
            "found 2 all",
            "more: locked nothing",
        ] {
            assert!(said.contains(part), "{said}");
        }
        assert!(!said.contains("same"), "{said}");
    }

    #[test]
    fn what_is_no_lock_is_refused_by_line() {
        let option = format!("{HEAD}\npip --index-url=x 1 any sha256:{}", digest('a'));
        for text in ["", "deb", &format!("{HEAD}\ndeb a 1 all"), &option] {
            assert!(text.parse::<Lock>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(# ukernel image lock 1\n)?([a-z0-9: \n-]{0,200})") {
            if let Ok(lock) = text.parse::<Lock>() {
                prop_assert_eq!(lock.to_string().parse::<Lock>().expect("a lock"), lock);
            }
        }
    }
}
