//! Language models of many providers behind one trait.
//!
//! [`GenericLlmClient`] asks a model and gives back its reply, what it used and what that cost.
//! Who answers is told by a [`ModelName`]:
//!
//! ```text
//!   ollama/llama3.2:3b        an Ollama server           anthropic/NAME   gemini/NAME
//!   openrouter/qwen/qwen3     OpenRouter                 openai/NAME
//!   mine/NAME                 any server that speaks OpenAI's protocol, its base URL in LlmConfig::providers
//!   replay:FILE               a recorded or scripted conversation; no model is asked
//! ```
//!
//! ```text
//!   client    GenericLlmClient, open()      what callers see
//!   provider  ProviderClient                attempts, retries, bounds; the wire formats are genai's
//!   replay    ReplayClient                  plays a file of JSON lines, and fails loudly on a mismatch
//!   record    Recorder                      wraps any client and writes such a file
//! ```
//!
//! What holds for every call:
//! - It is bounded: time to connect, time between bytes, time in all, bytes of the reply.
//! - Cancelling the token ends it at once, its connection with it. So does dropping the future.
//! - It is tried again only if the provider says so (429, 503, Anthropic's 529), its server failed (500, 502,
//!   504), or nothing was sent at all (connection refused), and never after a part of the reply has come.
//! - Usage is the provider's. Where the provider gives none it is estimated and says so.
//! - A failure says what the call may have cost: [`Failure::usage`].
//!
//! Keys are [`Secret`]s: they are not shown by `Debug` or `Display`, are cut out of everything a
//! provider says before it becomes an error, and out of what the recorder writes.
//!
//! What this crate refuses to do: read the environment (configuration is [`LlmConfig`], a value),
//! know prices, follow redirects, use tools, and log. What the library below would log is
//! discarded, because it logs what providers answer, and some answer with the key.
//!
//! What it cannot bound: the library reads the body of an HTTP error, and a line of a stream,
//! whole. A provider that sends one without end is stopped by the time limits only.
#![forbid(unsafe_code)]

pub mod client;
pub mod config;
mod error;
mod estimate;
mod key_file;
mod message;
mod model;
mod price;
pub mod provider;
pub mod record;
pub mod replay;
mod reply;
mod retry;
mod secret;

pub use client::{GenericLlmClient, ModelInfo, Origin, open};
pub use config::{LlmConfig, ProviderConfig, ReplyLimits};
pub use error::{Failure, FailureKind, LlmError, Result};
pub use estimate::estimate_tokens;
pub use key_file::read_key_file;
pub use message::{Message, Request, RequestDigest, Role};
pub use model::{ModelName, Provider};
pub use price::{Cost, CostSource, Price};
pub use provider::{ProviderClient, http_client};
pub use record::Recorder;
pub use replay::ReplayClient;
pub use reply::{FinishReason, Reply, Usage, UsageTotals};
pub use retry::RetryPolicy;
pub use secret::{Redactor, Secret};
