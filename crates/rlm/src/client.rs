//! Who is asked: providers, replays, and trajectories played again, behind one client.

use crate::{Result, RlmConfig, RlmError};
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use ukernel_llm::{
    GenericLlmClient, LlmError, ModelInfo, ModelName, ProviderClient, ReplayClient, Reply, Request,
    UsageTotals,
};
use ukernel_trajectory::{is_trajectory, replay_client};

/// A client for the models of a configuration.
///
/// # Errors
/// [`RlmError::Config`], [`RlmError::LlmProviderError`] if a model could not be asked.
pub(crate) fn open(
    config: &RlmConfig,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Arc<dyn GenericLlmClient>> {
    let llm = config.llm(variable)?;
    let mut models = Models {
        hosted: ProviderClient::new(llm)?,
        replays: BTreeMap::new(),
    };
    for model in [config.model()?, config.sub_model()?] {
        if let Some(path) = model.replay_file()
            && !models.replays.contains_key(path)
        {
            let client = if is_trajectory(path) {
                replay_client(path)?
            } else {
                ReplayClient::open(path)?
            };
            models.replays.insert(path.to_owned(), client);
        }
        models.model_info(&model).map_err(RlmError::from)?;
    }
    Ok(Arc::new(models))
}

struct Models {
    hosted: ProviderClient,
    replays: BTreeMap<PathBuf, ReplayClient>,
}

impl Models {
    fn of(&self, model: &ModelName) -> Result<&dyn GenericLlmClient, LlmError> {
        match model.replay_file() {
            None => Ok(&self.hosted),
            Some(path) => match self.replays.get(path) {
                Some(replay) => Ok(replay),
                None => Err(LlmError::NoModel),
            },
        }
    }
}

#[async_trait]
impl GenericLlmClient for Models {
    async fn stream(
        &self,
        request: &Request,
        pieces: mpsc::Sender<String>,
        cancel: &CancellationToken,
    ) -> Result<Reply, LlmError> {
        let client = self.of(&request.model)?;
        client.stream(request, pieces, cancel).await
    }

    fn model_info(&self, model: &ModelName) -> Result<ModelInfo, LlmError> {
        self.of(model)?.model_info(model)
    }

    fn usage(&self) -> UsageTotals {
        let mut totals = self.hosted.usage();
        for replay in self.replays.values() {
            totals.join(&replay.usage());
        }
        totals
    }
}
