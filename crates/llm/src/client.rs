//! What callers see: a trait, and the way to a client.

use crate::{
    LlmConfig, ModelName, Price, ProviderClient, ReplayClient, Reply, Request, Result, UsageTotals,
};
use async_trait::async_trait;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Asks language models. The name is the specification's (`TerraphimRlm::llm_client`).
///
/// Every call ends at once when its token is cancelled, or when its future is dropped.
#[async_trait]
pub trait GenericLlmClient: Send + Sync {
    /// The whole reply.
    ///
    /// # Errors
    /// [`LlmError::Failed`](crate::LlmError::Failed) if there is no reply; other variants if
    /// nothing was asked.
    async fn complete(&self, request: &Request, cancel: &CancellationToken) -> Result<Reply> {
        // To a listener that is gone: replies come as streams anyway.
        let (pieces, _) = mpsc::channel(1);
        self.stream(request, pieces, cancel).await
    }

    /// The whole reply, and its text in pieces while it comes: in order, together
    /// [`Reply::text`]. A listener that is gone is no failure; one that does not read holds the
    /// reply up until the time limit.
    ///
    /// # Errors
    /// As [`complete`](Self::complete). Pieces may have been sent before.
    async fn stream(
        &self,
        request: &Request,
        pieces: mpsc::Sender<String>,
        cancel: &CancellationToken,
    ) -> Result<Reply>;

    /// What is known of a model without asking it.
    ///
    /// # Errors
    /// If the model could not be asked either: its provider is unknown or has no key.
    fn model_info(&self, model: &ModelName) -> Result<ModelInfo>;

    /// What this client has used until now, and what that cost.
    fn usage(&self) -> UsageTotals;
}

/// What is known of a model without asking it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelInfo {
    /// Its name, as it is asked for.
    pub model: ModelName,
    /// Where replies come from.
    pub origin: Origin,
    /// What it costs, if configured.
    pub price: Option<Price>,
}

/// Where replies come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A model.
    Provider {
        /// The provider's base URL.
        base_url: String,
    },
    /// A file. No model is asked, and whoever shows a reply should say so.
    Replay {
        /// Which file.
        path: PathBuf,
        /// Lines it holds.
        lines: usize,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Provider { base_url } => out.write_str(base_url),
            Self::Replay { path, lines } => write!(
                out,
                "a replay of {} ({lines} lines); no model is asked",
                path.display()
            ),
        }
    }
}

/// The client for a model: one that plays the file for `replay:FILE`, or one that asks any
/// provider of the configuration.
///
/// # Errors
/// If the configuration makes no sense, the model could not be asked, or the replay is none.
pub fn open(config: LlmConfig, model: &ModelName) -> Result<Arc<dyn GenericLlmClient>> {
    let client: Arc<dyn GenericLlmClient> = match model.replay_file() {
        Some(path) => Arc::new(ReplayClient::open(path)?),
        None => Arc::new(ProviderClient::new(config)?),
    };
    client.model_info(model)?;
    Ok(client)
}
