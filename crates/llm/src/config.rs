//! Providers, prices, limits: what a door hands down.

use crate::{LlmError, ModelName, Price, Provider, Redactor, Result, RetryPolicy, Secret};
use reqwest::Url;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// Everything a client is told. The default knows the built-in providers, no key and no price.
#[derive(Clone, Debug, Default)]
pub struct LlmConfig {
    /// What is set for providers, by name. A name that is not built in needs a base URL, and
    /// speaks OpenAI's protocol.
    pub providers: BTreeMap<String, ProviderConfig>,
    /// Prices, by the model's name as it is asked for (`openai/NAME`).
    pub prices: BTreeMap<String, Price>,
    /// Bounds of every call.
    pub limits: ReplyLimits,
    /// How often calls are tried again.
    pub retry: RetryPolicy,
    /// URL of an HTTP proxy for everything but this machine's own addresses.
    pub proxy: Option<String>,
}

/// What is set for one provider.
#[derive(Clone, Debug, Default)]
pub struct ProviderConfig {
    /// Where it is, with the path up to the protocol's own: `https://host/v1/` for OpenAI's,
    /// `http://host:11434/` for Ollama. The built-in address if absent.
    pub base_url: Option<String>,
    /// Its key.
    pub key: Option<Secret>,
}

/// Bounds of every call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReplyLimits {
    /// Bytes of a reply's text and reasoning together. More is an error.
    pub max_reply_bytes: u64,
    /// Time to connect, in milliseconds.
    pub connect_timeout_ms: u64,
    /// Time without a byte once the reply has begun, in milliseconds.
    pub stall_timeout_ms: u64,
    /// Time of one attempt in all, in milliseconds. A model that loads, or thinks before it
    /// speaks, needs minutes.
    pub request_timeout_ms: u64,
}

impl Default for ReplyLimits {
    fn default() -> Self {
        Self {
            max_reply_bytes: 1 << 20,
            connect_timeout_ms: 10_000,
            stall_timeout_ms: 60_000,
            request_timeout_ms: 300_000,
        }
    }
}

impl ReplyLimits {
    /// Time to connect.
    #[must_use]
    pub fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    /// Time without a byte.
    #[must_use]
    pub fn stall_timeout(&self) -> Duration {
        Duration::from_millis(self.stall_timeout_ms)
    }

    /// Time of one attempt.
    #[must_use]
    pub fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }
}

/// A provider as it will be asked.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    /// Ends with a slash.
    pub base_url: String,
    /// Its key, if it has one.
    pub key: Option<Secret>,
}

impl LlmConfig {
    /// What is wrong with it, for people; `None` if nothing is.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        for (name, provider) in &self.providers {
            if !Provider::is_name(name) || name == "replay" {
                return Some(format!("`{}` names no provider", name.escape_debug()));
            }
            let built_in = Provider::BUILT_IN
                .iter()
                .any(|known| known.as_str() == name);
            if !built_in && provider.base_url.is_none() {
                return Some(format!(
                    "provider {name} is not built in and has no base URL"
                ));
            }
            if let Some(problem) = provider.base_url.as_deref().and_then(problem_of_url) {
                return Some(format!("the base URL of {name} {problem}"));
            }
        }
        if let Some(name) = self
            .prices
            .keys()
            .find(|name| name.parse::<ModelName>().is_err())
        {
            return Some(format!(
                "`{}` has a price and names no model",
                name.escape_debug()
            ));
        }
        let limits = &self.limits;
        let times = [
            limits.connect_timeout_ms,
            limits.stall_timeout_ms,
            limits.request_timeout_ms,
        ];
        if limits.max_reply_bytes == 0 || times.contains(&0) {
            return Some("a limit is 0".to_owned());
        }
        if self.retry.max_attempts == 0 {
            return Some("max_attempts is 0".to_owned());
        }
        None
    }

    /// The price of a model, if there is one.
    #[must_use]
    pub fn price(&self, model: &ModelName) -> Option<Price> {
        self.prices.get(&model.to_string()).copied()
    }

    /// One that cuts all keys out of texts.
    #[must_use]
    pub fn redactor(&self) -> Redactor {
        Redactor::new(
            self.providers
                .values()
                .filter_map(|provider| provider.key.clone()),
        )
    }

    /// How a provider is asked.
    pub(crate) fn endpoint(&self, provider: &Provider) -> Result<Endpoint> {
        let set = self.providers.get(provider.as_str());
        let base_url = set
            .and_then(|set| set.base_url.as_deref())
            .or(provider.default_base_url())
            .ok_or_else(|| self.unknown(provider))?;
        let key = set.and_then(|set| set.key.clone());
        if let (None, Some(variable)) = (&key, provider.key_variable()) {
            return Err(LlmError::NoKey {
                provider: provider.to_string(),
                variable,
            });
        }
        Ok(Endpoint {
            base_url: format!("{}/", base_url.trim_end_matches('/')),
            key,
        })
    }

    fn unknown(&self, provider: &Provider) -> LlmError {
        let built_in = Provider::BUILT_IN
            .iter()
            .map(|known| known.as_str().to_owned());
        let mut known: Vec<_> = built_in.chain(self.providers.keys().cloned()).collect();
        known.sort();
        known.dedup();
        LlmError::UnknownProvider {
            provider: provider.to_string(),
            known: known.join(", "),
        }
    }
}

/// What is wrong with a base URL. It is not shown, as it may hold a password.
fn problem_of_url(text: &str) -> Option<&'static str> {
    let Ok(url) = Url::parse(text) else {
        return Some("is no URL");
    };
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Some("is neither http nor https");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Some("holds a user or a password: configure a key instead");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Some("has a `?` or a `#`");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_url(name: &str, url: &str) -> LlmConfig {
        let provider = ProviderConfig {
            base_url: Some(url.to_owned()),
            key: None,
        };
        LlmConfig {
            providers: BTreeMap::from([(name.to_owned(), provider)]),
            ..LlmConfig::default()
        }
    }

    #[test]
    fn the_defaults_are_sound() {
        assert_eq!(LlmConfig::default().problem(), None);
        assert_eq!(with_url("mine", "http://127.0.0.1:8000/v1").problem(), None);
    }

    #[test]
    fn contradictions_are_named() {
        assert!(with_url("Mine", "http://localhost").problem().is_some());
        for url in [
            "",
            "x",
            "ftp://host",
            "https://me:pw@host/",
            "https://host/?key=x",
        ] {
            let problem = with_url("mine", url).problem().expect("a problem");
            assert!(!problem.contains("pw"), "{problem}");
        }
        let mut config = LlmConfig::default();
        config
            .providers
            .insert("mine".to_owned(), ProviderConfig::default());
        assert!(config.problem().is_some());
        let mut config = LlmConfig::default();
        config.limits.stall_timeout_ms = 0;
        assert!(config.problem().is_some());
    }

    #[test]
    fn who_is_not_there_or_has_no_key_is_named_with_the_way_out() {
        let config = with_url("mine", "http://127.0.0.1:8000/v1");
        let endpoint = config
            .endpoint(&Provider::Compatible("mine".to_owned()))
            .expect("it");
        assert_eq!(endpoint.base_url, "http://127.0.0.1:8000/v1/");
        let error = config.endpoint(&Provider::Compatible("opnai".to_owned()));
        let error = error.expect_err("unknown").to_string();
        assert!(error.contains("anthropic, gemini, mine, ollama"), "{error}");
        let error = config.endpoint(&Provider::Anthropic).expect_err("no key");
        let hint = error.hint().expect("a hint");
        assert!(hint.contains("ANTHROPIC_API_KEY"), "{hint}");
        assert!(config.endpoint(&Provider::Ollama).is_ok());
    }
}
