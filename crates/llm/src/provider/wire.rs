//! How the library is told whom to ask, and what.

use crate::config::{Endpoint, ReplyLimits};
use crate::{Provider, Request, Role};
use genai::adapter::AdapterKind;
use genai::chat::{
    ChatFrameSink, ChatMessage, ChatOptions, ChatRequest, JsonSpec, ReasoningEffort,
};
use genai::resolver::{AuthData, Endpoint as Address};
use genai::{Headers, ModelIden, ServiceTarget};
use std::sync::Arc;

/// Which protocol is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// Ollama's own: a JSON document a line.
    Ollama,
    /// OpenAI's, and that of everybody who copies it: server-sent events.
    OpenAi,
    /// Anthropic's: named server-sent events.
    Anthropic,
    /// Gemini's: server-sent events.
    Gemini,
}

impl Protocol {
    /// The protocol for a request. The library cannot hold Ollama's own protocol to a schema;
    /// Ollama speaks OpenAI's beside it, which can.
    pub(super) fn of(provider: &Provider, request: &Request) -> Self {
        match provider {
            Provider::Ollama if request.json_schema.is_none() => Self::Ollama,
            Provider::Anthropic => Self::Anthropic,
            Provider::Gemini => Self::Gemini,
            Provider::Ollama
            | Provider::OpenRouter
            | Provider::OpenAi
            | Provider::Compatible(_) => Self::OpenAi,
        }
    }
}

/// Whom to ask.
pub(super) fn target(
    provider: &Provider,
    protocol: Protocol,
    endpoint: &Endpoint,
    name: &str,
) -> ServiceTarget {
    let adapter = match (protocol, &endpoint.key) {
        (Protocol::Ollama, _) => AdapterKind::Ollama,
        (Protocol::Anthropic, _) => AdapterKind::Anthropic,
        (Protocol::Gemini, _) => AdapterKind::Gemini,
        (Protocol::OpenAi, Some(_)) if *provider == Provider::OpenRouter => AdapterKind::OpenRouter,
        (Protocol::OpenAi, Some(_)) => AdapterKind::OpenAI,
        // OpenAI's protocol without a key; the library's name for it is that of one such server.
        (Protocol::OpenAi, None) => AdapterKind::Omlx,
    };
    let auth = match &endpoint.key {
        Some(key) => AuthData::from_single(key.expose()),
        None => AuthData::None,
    };
    let is_ollama_as_openai = *provider == Provider::Ollama && protocol == Protocol::OpenAi;
    let path = if is_ollama_as_openai { "v1/" } else { "" };
    ServiceTarget {
        endpoint: Address::from_owned(format!("{}{path}", endpoint.base_url)),
        auth,
        model: ModelIden::new(adapter, name),
    }
}

/// What to say.
pub(super) fn conversation(request: &Request) -> ChatRequest {
    let messages = request.messages.iter().map(|message| {
        let text = message.text.as_str();
        match message.role {
            Role::System => ChatMessage::system(text),
            Role::User => ChatMessage::user(text),
            Role::Assistant => ChatMessage::assistant(text),
        }
    });
    ChatRequest::from_messages(messages.collect())
}

/// How to say it.
pub(super) fn options(
    request: &Request,
    protocol: Protocol,
    endpoint: &Endpoint,
    limits: &ReplyLimits,
    frames: Arc<dyn ChatFrameSink>,
) -> ChatOptions {
    let mut options = ChatOptions::default()
        .with_capture_usage(true)
        .with_stream_read_timeout(limits.stall_timeout())
        .with_raw_frame_sink_arc(frames);
    options.max_tokens = request.max_tokens;
    options.temperature = request.temperature;
    options.stop_sequences.clone_from(&request.stop);
    if let Some(schema) = &request.json_schema {
        options = options.with_response_format(JsonSpec::new("reply", schema.clone()));
    }
    match protocol {
        // Unless told an effort, the library takes the end of names like `mistral-medium` for
        // one. This one is not sent.
        Protocol::OpenAi => options = options.with_reasoning_effort(ReasoningEffort::Budget(0)),
        // The library knows no keys of Ollama, which may stand behind a gateway that does.
        Protocol::Ollama => {
            if let Some(key) = &endpoint.key {
                let value = format!("Bearer {}", key.expose());
                options = options.with_extra_headers(Headers::from(("Authorization", value)));
            }
        }
        Protocol::Anthropic | Protocol::Gemini => {}
    }
    options
}
