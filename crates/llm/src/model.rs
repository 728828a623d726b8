//! Names of models: who is asked, and for what.

use crate::secret::shorten;
use crate::{LlmError, Result};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Longest model name, in bytes.
const MAX_MODEL_BYTES: usize = 256;
/// Longest provider name, in bytes.
const MAX_PROVIDER_BYTES: usize = 64;

/// Who answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Provider {
    /// An Ollama server, by default the local one.
    Ollama,
    /// OpenRouter.
    OpenRouter,
    /// OpenAI.
    OpenAi,
    /// Anthropic.
    Anthropic,
    /// Google's Gemini.
    Gemini,
    /// A server that speaks OpenAI's protocol, under this name in the configuration.
    Compatible(String),
}

impl Provider {
    /// Those that are built in.
    pub const BUILT_IN: [Self; 5] = [
        Self::Ollama,
        Self::OpenRouter,
        Self::OpenAi,
        Self::Anthropic,
        Self::Gemini,
    ];

    /// The name before the slash, which is also the key in
    /// [`LlmConfig::providers`](crate::LlmConfig::providers).
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Ollama => "ollama",
            Self::OpenRouter => "openrouter",
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
            Self::Compatible(name) => name,
        }
    }

    /// The base URL, if it is built in.
    #[must_use]
    pub fn default_base_url(&self) -> Option<&'static str> {
        match self {
            Self::Ollama => Some("http://127.0.0.1:11434/"),
            Self::OpenRouter => Some("https://openrouter.ai/api/v1/"),
            Self::OpenAi => Some("https://api.openai.com/v1/"),
            Self::Anthropic => Some("https://api.anthropic.com/v1/"),
            Self::Gemini => Some("https://generativelanguage.googleapis.com/v1beta/"),
            Self::Compatible(_) => None,
        }
    }

    /// The environment variable in which the key customarily is, for the doors to read and for
    /// errors to name; `None` if no key is needed. This crate reads no environment.
    #[must_use]
    pub fn key_variable(&self) -> Option<&'static str> {
        match self {
            Self::OpenRouter => Some("OPENROUTER_API_KEY"),
            Self::OpenAi => Some("OPENAI_API_KEY"),
            Self::Anthropic => Some("ANTHROPIC_API_KEY"),
            Self::Gemini => Some("GEMINI_API_KEY"),
            Self::Ollama | Self::Compatible(_) => None,
        }
    }

    /// The provider of this name; one that is not built in is a compatible server.
    #[must_use]
    pub fn of_name(name: &str) -> Self {
        Self::BUILT_IN
            .into_iter()
            .find(|provider| provider.as_str() == name)
            .unwrap_or_else(|| Self::Compatible(name.to_owned()))
    }

    /// Whether a text can name a provider: lower case letters, digits, `-` and `_`.
    #[must_use]
    pub fn is_name(text: &str) -> bool {
        let is_sound =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
        !text.is_empty() && text.len() <= MAX_PROVIDER_BYTES && text.bytes().all(is_sound)
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// A model: `PROVIDER/NAME`, or `replay:FILE`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ModelName {
    /// A model of a provider.
    Hosted {
        /// Who answers.
        provider: Provider,
        /// What the provider calls it. It may hold slashes.
        name: String,
    },
    /// A conversation in a file. No model is asked.
    Replay(PathBuf),
}

impl ModelName {
    /// The file, if it is a replay.
    #[must_use]
    pub fn replay_file(&self) -> Option<&Path> {
        match self {
            Self::Replay(path) => Some(path),
            Self::Hosted { .. } => None,
        }
    }
}

impl FromStr for ModelName {
    type Err = LlmError;

    /// # Errors
    /// [`LlmError::NoModel`] for nothing, [`LlmError::BadModel`] for what is no name. Whether the
    /// provider is configured is seen when it is asked.
    fn from_str(text: &str) -> Result<Self> {
        let refuse = |reason| LlmError::BadModel {
            shown: shorten(text, 60),
            reason,
        };
        if text.trim().is_empty() {
            return Err(LlmError::NoModel);
        }
        if let Some(file) = text.strip_prefix("replay:") {
            if file.is_empty() || file.contains('\0') {
                return Err(refuse("after `replay:` comes a file"));
            }
            return Ok(Self::Replay(file.into()));
        }
        let (provider, name) = text
            .split_once('/')
            .ok_or_else(|| refuse("the provider is missing"))?;
        if !Provider::is_name(provider) {
            return Err(refuse(
                "a provider is 1 to 64 lower case letters, digits, `-` and `_`",
            ));
        }
        check_name(name).map_err(refuse)?;
        Ok(Self::Hosted {
            provider: Provider::of_name(provider),
            name: name.to_owned(),
        })
    }
}

/// What is wrong with the part after the provider. Gemini's protocol puts it into a URL's path,
/// and the library cuts a name at `::`.
fn check_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("the model's own name is missing");
    }
    if name.len() > MAX_MODEL_BYTES {
        return Err("it is longer than 256 bytes");
    }
    let is_sound = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/@+~".contains(&byte);
    if !name.bytes().all(is_sound) {
        return Err("a name is of letters, digits and -_.:/@+~");
    }
    if name.contains("::") {
        return Err("it has `::`");
    }
    if name.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err("a part between slashes is empty or dots");
    }
    Ok(())
}

impl fmt::Display for ModelName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hosted { provider, name } => write!(out, "{provider}/{name}"),
            Self::Replay(path) => write!(out, "replay:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_taken_apart() {
        let model: ModelName = "openrouter/qwen/qwen3-8b:free".parse().expect("a name");
        let expected = ModelName::Hosted {
            provider: Provider::OpenRouter,
            name: "qwen/qwen3-8b:free".to_owned(),
        };
        assert_eq!(model, expected);
        let model: ModelName = "mine/any".parse().expect("a name");
        let ModelName::Hosted { provider, .. } = model else {
            panic!("a hosted one");
        };
        assert_eq!(provider, Provider::Compatible("mine".to_owned()));
        let model: ModelName = "replay:talks/one.jsonl".parse().expect("a name");
        assert_eq!(model.replay_file(), Some(Path::new("talks/one.jsonl")));
    }

    #[test]
    fn every_built_in_provider_is_found_by_its_name() {
        for provider in Provider::BUILT_IN {
            assert_eq!(Provider::of_name(provider.as_str()), provider);
            assert!(Provider::is_name(provider.as_str()));
            assert!(provider.default_base_url().is_some());
        }
    }

    #[test]
    fn what_is_no_name_is_refused_with_the_way_out() {
        let long = format!("openai/{}", "x".repeat(MAX_MODEL_BYTES + 1));
        for text in [
            "gpt",
            "openai/",
            "/gpt",
            "OpenAI/gpt",
            "a b/c",
            "openai/a b",
            "openai/a::b",
            "gemini/../x",
            "openai/a//b",
            "openai/é",
            "openai/x\n",
            "replay:",
            &long,
        ] {
            let error = text.parse::<ModelName>().expect_err("no name");
            let hint = error.hint().expect("a hint");
            assert!(hint.contains("PROVIDER/NAME"), "{hint}");
            assert!(error.to_string().len() < 400, "{error}");
        }
        assert!(matches!("".parse::<ModelName>(), Err(LlmError::NoModel)));
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_parser(text in ".{0,300}") {
            let _: Result<ModelName> = text.parse();
        }

        #[test]
        fn what_is_shown_is_what_was_parsed(
            text in "[a-z][a-z0-9_-]{0,20}/[A-Za-z0-9_.:@+~-]{1,20}(/[A-Za-z0-9]{1,9})?",
        ) {
            if let Ok(model) = text.parse::<ModelName>() {
                prop_assert_eq!(model.to_string(), text);
            }
        }
    }
}
