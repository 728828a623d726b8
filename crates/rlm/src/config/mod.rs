//! `RlmConfig`: the specification's section 4, and what this implementation adds.
//!
//! Values come in layers: defaults, a TOML file, the environment, the builder. A key that is not
//! known is an error wherever it stands.

mod layers;
mod models;
mod upstream;

pub use models::ModelProvider;
pub use upstream::UpstreamServer;

use crate::RlmError;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
pub use ukernel_kg::KgStrictness;
use ukernel_llm::{ModelName, Price};
pub use ukernel_sandbox::backends::BackendType;
pub use ukernel_sandbox::config::SessionModel;
use ukernel_sandbox::{Guest, SandboxConfig};

/// Makes the structure, its defaults and its builder from one list.
macro_rules! config {
    ($($(#[doc = $doc:literal])+ $name:ident: $type:ty = $default:expr;)+) => {
        /// How questions are answered. Names and defaults are the specification's where it has
        /// them (section 4).
        ///
        /// ```
        /// use terraphim_rlm::RlmConfig;
        ///
        /// let config = RlmConfig::builder()
        ///     .llm_provider("openrouter")
        ///     .llm_model("qwen/qwen3-8b")
        ///     .max_total_tokens(50_000u64)
        ///     .build()?;
        /// assert_eq!(config.max_recursion_depth, 5);
        /// # Ok::<(), terraphim_rlm::RlmError>(())
        /// ```
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct RlmConfig {
            /// Sessions and the VMs they run in. In files and in the environment its fields stand among
            /// the others.
            #[serde(flatten)]
            pub sandbox: SandboxConfig,
            $($(#[doc = $doc])+ pub $name: $type,)+
        }

        impl Default for RlmConfig {
            fn default() -> Self {
                Self {
                    sandbox: SandboxConfig::default(),
                    $($name: $default,)+
                }
            }
        }

        /// Sets what differs from the defaults.
        #[derive(Clone, Debug, Default)]
        pub struct RlmConfigBuilder {
            config: RlmConfig,
        }

        impl RlmConfigBuilder {
            /// Sessions and the VMs they run in.
            #[must_use]
            pub fn sandbox(mut self, value: SandboxConfig) -> Self {
                self.config.sandbox = value;
                self
            }

            $($(#[doc = $doc])+
            #[must_use]
            pub fn $name(mut self, value: impl Into<$type>) -> Self {
                self.config.$name = value.into();
                self
            })+
        }
    };
}

config! {
    /// How deep `rlm_query` may be nested; 0 allows none.
    max_recursion_depth: u32 = 5;
    /// Tokens of prompts and replies of a whole run.
    max_total_tokens: u64 = 100_000;
    /// Time of a whole run, in milliseconds.
    max_wall_clock_ms: u64 = 300_000;
    /// Cost of a whole run, in millionths of a US dollar. Needs prices.
    max_total_micro_dollars: Option<u64> = None;
    /// Queries that code may make in a whole run.
    max_sub_calls: u64 = 1000;
    /// Bytes of output that come back from commands in a whole run.
    max_total_output_bytes: u64 = 16 << 20;
    /// Whether commands are held against a thesaurus, if there is one.
    kg_validation_enabled: bool = true;
    /// How often a model may say a command with unknown terms again.
    kg_retry_limit: u32 = 3;
    /// Whether a person is asked when the retries are used up.
    kg_escalation_enabled: bool = true;
    /// What becomes of commands with unknown terms.
    kg_strictness: KgStrictness = KgStrictness::Normal;
    /// The thesaurus, a file in Terraphim's JSON.
    kg_thesaurus: Option<PathBuf> = None;
    /// What runs inside the VMs: `ukernel` or `linux`.
    guest: Guest = Guest::Ukernel;
    /// The image of the Linux guest, of those `ukernel image add` made; its own if absent.
    image: Option<ukernel_image::ImageName> = None;
    /// Bytes of each output stream that a model is shown; what is longer is in a file of the guest.
    max_prompt_output_bytes: usize = 8192;
    /// Names that may be resolved once a guest has a network. No guest has one yet. The specification's
    /// default has the package index, too; here it has to be set.
    dns_allowlist: Vec<String> = ["github.com", "raw.githubusercontent.com"]
        .map(str::to_owned)
        .to_vec();
    /// Whether connections are logged once a guest has a network. No guest has one yet.
    enable_network_audit: bool = true;
    /// Whether trajectories hold texts: questions, prompts, replies, code, output, answers.
    enable_verbose_tracing: bool = false;
    /// Days that trajectories are kept.
    trace_retention_days: u32 = 7;
    /// Where trajectories are kept; nowhere if absent.
    trace_folder: Option<PathBuf> = None;
    /// Told of failures that repeat. Not used yet.
    alert_webhook_url: Option<String> = None;
    /// Whether VMs that fail are replaced. The sandbox always does.
    auto_remediation_enabled: bool = true;
    /// Where images and templates are kept, and sessions while they last; `ukernel` in the user's
    /// cache folder if absent.
    home: Option<PathBuf> = None;
    /// The project's sources, from which kernel and images are built; those this was built from if
    /// absent.
    source: Option<PathBuf> = None;
    /// Where sessions are kept for the next process; they end with this one if absent.
    session_folder: Option<PathBuf> = None;
    /// Who is asked.
    llm_provider: String = "ollama".to_owned();
    /// Which of its models. With the provider `replay`, a file.
    llm_model: String = "llama3.2:3b".to_owned();
    /// Who is asked by `query_llm`, as `provider/model`; the same if absent.
    llm_sub_model: Option<String> = None;
    /// Base URLs and keys of providers, by name.
    providers: BTreeMap<String, ModelProvider> = BTreeMap::new();
    /// Prices, by `provider/model`.
    prices: BTreeMap<String, Price> = BTreeMap::new();
    /// MCP servers whose tools code may call, by the name they have in code. Used by `ukernel mcp` and
    /// `ukernel rlm`.
    mcp_servers: BTreeMap<String, UpstreamServer> = BTreeMap::new();
    /// URL of an HTTP proxy for model calls.
    proxy: Option<String> = None;
    /// Most tokens of a reply of the model that answers.
    max_reply_tokens: u32 = 4096;
    /// Most tokens of a reply to `query_llm`.
    max_sub_reply_tokens: u32 = 2048;
    /// Between 0 and 2; the model's own if absent.
    temperature: Option<f64> = None;
    /// Model calls at once.
    max_parallel_calls: usize = 8;
    /// Queries of one `query_llm_batched` or `rlm_query_batched`.
    max_batch: usize = 256;
    /// Steps of one node.
    max_iterations: u32 = 30;
    /// Commands, or replies without one, that may fail in a row.
    max_consecutive_errors: u32 = 5;
    /// Characters of context from which on the first step cannot be the answer.
    long_context_chars: u64 = 16_384;
    /// Estimated tokens of a conversation from which on older steps are left out.
    compaction_tokens: u64 = 24_000;
    /// Bytes of all context files together.
    max_context_bytes: u64 = 1 << 30;
    /// Bytes of an answer.
    max_answer_bytes: usize = 1 << 20;
}

impl RlmConfig {
    /// A builder that begins with the defaults.
    #[must_use]
    pub fn builder() -> RlmConfigBuilder {
        RlmConfigBuilder::default()
    }

    /// The model that is asked for steps.
    ///
    /// # Errors
    /// [`RlmError::Config`] if the names make none.
    pub fn model(&self) -> Result<ModelName, RlmError> {
        models::name(&self.llm_provider, &self.llm_model)
    }

    /// The model that is asked by `query_llm`.
    ///
    /// # Errors
    /// [`RlmError::Config`] if the name is none.
    pub fn sub_model(&self) -> Result<ModelName, RlmError> {
        match &self.llm_sub_model {
            Some(name) => models::parse(name),
            None => self.model(),
        }
    }

    /// Refuses what contradicts itself.
    ///
    /// # Errors
    /// [`RlmError::Config`] with what is wrong.
    pub fn check(&self) -> Result<(), RlmError> {
        let zero = [
            ("max_total_tokens", self.max_total_tokens == 0),
            ("max_wall_clock_ms", self.max_wall_clock_ms == 0),
            ("max_reply_tokens", self.max_reply_tokens == 0),
            ("max_sub_reply_tokens", self.max_sub_reply_tokens == 0),
            ("max_parallel_calls", self.max_parallel_calls == 0),
            ("max_batch", self.max_batch == 0),
            ("max_iterations", self.max_iterations == 0),
            ("max_consecutive_errors", self.max_consecutive_errors == 0),
            ("max_prompt_output_bytes", self.max_prompt_output_bytes == 0),
            ("max_answer_bytes", self.max_answer_bytes == 0),
        ];
        if let Some((name, _)) = zero.iter().find(|(_, is_zero)| *is_zero) {
            return Err(RlmError::config(format!("{name} is 0")));
        }
        if let Some(problem) = self.sandbox.problem() {
            return Err(RlmError::config(problem));
        }
        if self
            .temperature
            .is_some_and(|value| !(0.0..=2.0).contains(&value))
        {
            return Err(RlmError::config("temperature is not between 0 and 2"));
        }
        for (name, server) in &self.mcp_servers {
            if let Some(problem) = server.problem(name) {
                return Err(RlmError::config(format!("mcp_servers.{name}: {problem}")));
            }
        }
        self.model()?;
        self.sub_model()?;
        Ok(())
    }
}

impl RlmConfigBuilder {
    /// The configuration.
    ///
    /// # Errors
    /// [`RlmError::Config`] if it contradicts itself.
    pub fn build(self) -> Result<RlmConfig, RlmError> {
        self.config.check()?;
        Ok(self.config)
    }
}
