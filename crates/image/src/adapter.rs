//! What an adapter says of itself in its `adapter.toml`. Nothing else knows a language.

use serde::Deserialize;
use std::path::Path;
use std::sync::LazyLock;

/// Folder of the adapter this release has, under the project's root.
pub(crate) const FOLDER: &str = "adapters/python";

static ADAPTER: LazyLock<Adapter> = LazyLock::new(|| {
    #[expect(
        clippy::expect_used,
        reason = "part of the program; a test below reads it"
    )]
    toml::from_str(include_str!("../../../adapters/python/adapter.toml"))
        .expect("adapter.toml is what `Adapter` says")
});

/// The adapter this release has.
#[must_use]
pub fn adapter() -> &'static Adapter {
    &ADAPTER
}

/// What is one language's own.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adapter {
    /// Names its images: in the store, in their headers and in the guest's greeting. 1 to 32 bytes.
    pub name: String,
    /// What people call the language.
    pub language: String,
    /// Ends of the names of program files, without the dot.
    pub suffixes: Vec<String>,
    /// Most stack a program may use, in bytes; at most `ukernel_abi::engine::MAX_STACK_BYTES`.
    pub(crate) stack_bytes: u32,
    /// How signals reach a program of it that computes. None: they do not, it can only be ended.
    pub(crate) signals: Option<Signals>,
    /// Run in a VM before it becomes a template, so that forks find touched what every program needs.
    pub warm_up: String,
    /// Run in the first fork of a template: the pages it touches are given to every later fork at its start.
    pub trial: String,
    /// How its component is built.
    pub(crate) build: Build,
}

/// Layouts of a runtime's memory whose signal state can be found.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) enum Signals {
    #[serde(rename = "cpython-3.14")]
    Cpython314,
}

/// What componentize-py is given. Files and folders are relative to the adapter's folder.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Build {
    /// pip's requirements of the tool itself.
    pub(crate) tool: String,
    /// pip's requirements of what programs can import.
    pub(crate) packages: String,
    /// pip's arguments that say which wheels fit the interpreter in the component.
    pub(crate) packages_for: Vec<String>,
    /// A library in Rust, loaded into the tool before it starts.
    pub(crate) shim: String,
    /// The script that starts the tool.
    pub(crate) driver: String,
    /// Folder of the adapter's modules, and the one among them that exports the runtime.
    pub(crate) sources: String,
    pub(crate) module: String,
}

impl Adapter {
    /// Whether a file of this name may be a program of this language.
    #[must_use]
    pub fn takes(&self, file: &Path) -> bool {
        let suffix = file.extension().and_then(|suffix| suffix.to_str());
        suffix.is_some_and(|suffix| self.suffixes.iter().any(|known| known == suffix))
    }

    /// The suffixes for people: `.py`.
    #[must_use]
    pub fn shown_suffixes(&self) -> String {
        let dotted: Vec<_> = self
            .suffixes
            .iter()
            .map(|suffix| format!(".{suffix}"))
            .collect();
        dotted.join(" or ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = include_str!("../../../adapters/python/adapter.toml");

    #[test]
    fn the_adapter_of_this_release_is_read() {
        let adapter = adapter();
        assert!(adapter.takes(Path::new("folder/program.py")));
        for other in ["program.js", "py", ".py", "program.py.txt", "program.PY"] {
            assert!(!adapter.takes(Path::new(other)), "{other}");
        }
    }

    #[test]
    fn unknown_keys_are_refused() {
        for text in [format!("color = 1\n{TEXT}"), format!("{TEXT}\ncolor = 1")] {
            let error = toml::from_str::<Adapter>(&text).expect_err("an unknown key");
            assert!(error.message().contains("color"), "{error}");
        }
    }
}
