//! An older client's own model, where the configuration names none (`sampling/createMessage`, which
//! revision 2026-07-28 has no more).
#![expect(deprecated, reason = "older clients still offer it")]

use async_trait::async_trait;
use rmcp::model::{CreateMessageRequestParams, SamplingContent, SamplingMessage};
use rmcp::service::{Peer, RoleServer};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use ukernel_llm::{
    Failure, FailureKind, FinishReason, GenericLlmClient, LlmError, Message, ModelInfo, ModelName,
    Origin, Reply, Request, Role, Usage, UsageTotals, estimate_tokens,
};

/// Tokens of a reply, if the caller does not say.
const DEFAULT_TOKENS: u32 = 4096;

/// The name it goes by in trajectories.
pub(crate) const NAME: &str = "client/sampling";

/// Asks the client that is connected.
pub(crate) struct ClientModel {
    peer: Peer<RoleServer>,
    used: Mutex<UsageTotals>,
}

impl ClientModel {
    pub(crate) fn new(peer: Peer<RoleServer>) -> Self {
        Self {
            peer,
            used: Mutex::default(),
        }
    }

    fn note(&self, usage: Option<Usage>) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.calls += 1;
        used.attempts += 1;
        match usage {
            Some(usage) => {
                used.prompt_tokens += usage.prompt_tokens;
                used.completion_tokens += usage.completion_tokens;
                used.estimated_calls += 1;
                used.calls_without_cost += 1;
            }
            None => used.failed_calls += 1,
        }
    }
}

fn failed(kind: FailureKind, message: String) -> LlmError {
    LlmError::Failed(Box::new(Failure {
        provider: "the client's model".to_owned(),
        kind,
        status: None,
        message,
        retry_after: None,
        attempts: 1,
        usage: None,
        cost: None,
    }))
}

fn params(request: &Request) -> CreateMessageRequestParams {
    let of = |role: Role| request.messages.iter().filter(move |one| one.role == role);
    let system: Vec<&str> = of(Role::System).map(|one| one.text.as_str()).collect();
    let turns = request.messages.iter().filter_map(|message: &Message| {
        Some(match message.role {
            Role::System => return None,
            Role::User => SamplingMessage::user_text(&message.text),
            Role::Assistant => SamplingMessage::assistant_text(&message.text),
        })
    });
    let tokens = request.max_tokens.unwrap_or(DEFAULT_TOKENS);
    let mut params = CreateMessageRequestParams::new(turns.collect(), tokens);
    params.system_prompt = (!system.is_empty()).then(|| system.join("\n\n"));
    #[expect(clippy::cast_possible_truncation, reason = "it is between 0 and 2")]
    let temperature = request.temperature.map(|value| value as f32);
    params.temperature = temperature;
    params.stop_sequences = (!request.stop.is_empty()).then(|| request.stop.clone());
    params
}

fn text_of(content: &SamplingContent<rmcp::model::SamplingMessageContentBlock>) -> String {
    let blocks = content.iter();
    let texts = blocks.filter_map(|block| block.as_text().map(|text| text.text.as_str()));
    texts.collect::<Vec<_>>().join("\n")
}

#[async_trait]
impl GenericLlmClient for ClientModel {
    async fn stream(
        &self,
        request: &Request,
        pieces: mpsc::Sender<String>,
        cancel: &CancellationToken,
    ) -> Result<Reply, LlmError> {
        let began = Instant::now();
        let asked = self.peer.create_message(params(request));
        let result = tokio::select! {
            result = asked => result.map_err(|error| failed(FailureKind::Server, error.to_string())),
            () = cancel.cancelled() => Err(failed(FailureKind::Cancelled, String::new())),
        };
        let result = match result {
            Ok(result) => result,
            Err(error) => {
                self.note(None);
                return Err(error);
            }
        };
        let text = text_of(&result.message.content);
        let prompt: usize = request.messages.iter().map(|one| one.text.len()).sum();
        let usage = Usage {
            prompt_tokens: estimate_tokens(prompt as u64),
            completion_tokens: estimate_tokens(text.len() as u64),
            is_estimated: true,
        };
        self.note(Some(usage));
        // A listener that is gone is no failure.
        let _ = pieces.send(text.clone()).await;
        Ok(Reply {
            finish: match result.stop_reason.as_deref() {
                Some("endTurn" | "stopSequence") => FinishReason::Stop,
                Some("maxTokens") => FinishReason::Length,
                _ => FinishReason::Other,
            },
            text,
            usage,
            cost: None,
            model: result.model,
            latency: began.elapsed(),
            attempts: 1,
        })
    }

    fn model_info(&self, model: &ModelName) -> Result<ModelInfo, LlmError> {
        Ok(ModelInfo {
            model: model.clone(),
            origin: Origin::Provider {
                base_url: "the MCP client (sampling)".to_owned(),
            },
            price: None,
        })
    }

    fn usage(&self) -> UsageTotals {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
