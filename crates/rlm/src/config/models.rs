//! Models and their providers, as they are configured.

use super::RlmConfig;
use crate::RlmError;
use crate::error::Problem;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use ukernel_llm::{
    LlmConfig, ModelName, Provider, ProviderConfig, ReplyLimits, RetryPolicy, Secret,
};

/// What is set for one provider. Keys themselves stand in the environment or in files of their own,
/// never here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelProvider {
    /// Where it is; the built-in address if absent.
    pub base_url: Option<String>,
    /// Environment variable of its key; the customary one if absent.
    pub key_variable: Option<String>,
    /// File with its key, readable by its owner only.
    pub key_file: Option<PathBuf>,
}

/// The model of a provider.
pub(super) fn name(provider: &str, model: &str) -> Result<ModelName, RlmError> {
    match provider {
        "replay" => parse(&format!("replay:{model}")),
        _ => parse(&format!("{provider}/{model}")),
    }
}

pub(super) fn parse(text: &str) -> Result<ModelName, RlmError> {
    text.parse()
        .map_err(|error: ukernel_llm::LlmError| RlmError::config(Problem::of(error)))
}

impl RlmConfig {
    /// Takes the name of a model apart: `provider/model`, or `replay:FILE`.
    pub fn set_model(&mut self, model: &ModelName) {
        let (provider, name) = match model {
            ModelName::Hosted { provider, name } => (provider.to_string(), name.clone()),
            ModelName::Replay(path) => ("replay".to_owned(), path.display().to_string()),
        };
        self.llm_provider = provider;
        self.llm_model = name;
    }

    /// What the client of models is told, with the keys that are there. `variable` reads the
    /// environment.
    ///
    /// # Errors
    /// [`RlmError::Config`] for a key that is none, or a key file that cannot be used.
    pub fn llm(&self, variable: &dyn Fn(&str) -> Option<String>) -> Result<LlmConfig, RlmError> {
        let mut providers = std::collections::BTreeMap::new();
        let built_in = Provider::BUILT_IN
            .iter()
            .map(|known| known.as_str().to_owned());
        for name in built_in.chain(self.providers.keys().cloned()) {
            let set = self.providers.get(&name).cloned().unwrap_or_default();
            let key = key(&name, &set, variable)?;
            let config = ProviderConfig {
                base_url: set.base_url,
                key,
            };
            providers.insert(name, config);
        }
        let config = LlmConfig {
            providers,
            prices: self.prices.clone(),
            limits: ReplyLimits::default(),
            retry: RetryPolicy::default(),
            proxy: self.proxy.clone(),
        };
        match config.problem() {
            None => Ok(config),
            Some(problem) => Err(RlmError::config(problem)),
        }
    }
}

fn key(
    name: &str,
    set: &ModelProvider,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<Secret>, RlmError> {
    let bad = |error: ukernel_llm::LlmError| {
        RlmError::config(Problem::about(format!("provider {name}"), error))
    };
    if let Some(path) = &set.key_file {
        return ukernel_llm::read_key_file(path).map(Some).map_err(bad);
    }
    let customary = Provider::of_name(name).key_variable();
    let Some(from) = set.key_variable.as_deref().or(customary) else {
        return Ok(None);
    };
    match variable(from).filter(|value| !value.is_empty()) {
        Some(value) => value.parse().map(Some).map_err(bad),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_from_the_environment_or_a_file_and_are_never_shown() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "sk-from-a-file-0123456789\n").expect("written");
        let mut config = RlmConfig::default();
        let mine = ModelProvider {
            base_url: Some("http://127.0.0.1:9/v1".to_owned()),
            key_file: Some(file.path().to_owned()),
            ..ModelProvider::default()
        };
        config.providers.insert("mine".to_owned(), mine);
        let variable = |name: &str| {
            (name == "OPENAI_API_KEY").then(|| "sk-from-the-environment-0123".to_owned())
        };
        let llm = config.llm(&variable).expect("keys");
        assert!(llm.providers["openai"].key.is_some());
        assert!(llm.providers["mine"].key.is_some());
        assert!(llm.providers["anthropic"].key.is_none());
        let shown = format!("{llm:?}");
        assert!(!shown.contains("sk-from"), "{shown}");
    }

    #[test]
    fn models_are_named_in_two_ways() {
        let mut config = RlmConfig::default();
        assert_eq!(
            config.model().expect("a model").to_string(),
            "ollama/llama3.2:3b"
        );
        for name in ["openrouter/qwen/qwen3-8b", "replay:talks/a.jsonl"] {
            config.set_model(&name.parse().expect("a name"));
            assert_eq!(config.model().expect("a model").to_string(), name);
        }
    }
}
