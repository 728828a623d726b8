//! What the library passes over: it normalises a stream, and drops the model's name, refusals,
//! costs, some errors, and whether the stream came to its end. We look at each frame ourselves.

use super::wire::Protocol;
use crate::secret::shorten;
use genai::chat::{ChatFrameSink, FrameCtx, RawFrameRef};
use serde_json::Value;
use std::sync::{Mutex, PoisonError};

/// Longest text kept of a refusal, in bytes.
const MAX_REFUSAL_BYTES: usize = 65_536;

/// What the frames of one stream have said.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// Whether any frame came.
    pub any: bool,
    /// Whether the stream has said that it is complete.
    pub is_complete: bool,
    /// The model's name, as the provider says it.
    pub model: Option<String>,
    /// Why the reply ended, in the provider's word.
    pub finish: Option<String>,
    /// The words of a refusal that are not part of the reply.
    pub refusal: String,
    /// `usage.cost`, which OpenRouter gives in dollars with every reply.
    pub cost_dollars: Option<f64>,
    /// An error within the stream.
    pub error: Option<StreamError>,
}

/// An error within a stream.
#[derive(Clone, Debug)]
pub(super) struct StreamError {
    /// The provider's name for its kind; empty if it has none.
    pub kind: String,
    /// What it says, whole; it may hold a key.
    pub message: String,
}

/// Watches the frames of one stream.
#[derive(Debug)]
pub(super) struct Frames {
    protocol: Protocol,
    seen: Mutex<Seen>,
}

impl Frames {
    pub(super) fn new(protocol: Protocol) -> Self {
        Self {
            protocol,
            seen: Mutex::default(),
        }
    }

    /// What was said until now.
    pub(super) fn seen(&self) -> Seen {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The error within the stream, if there was one until now.
    pub(super) fn error(&self) -> Option<StreamError> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.error.clone()
    }

    fn look(&self, seen: &mut Seen, frame: &Value) {
        let text = |path: &str| frame.pointer(path).and_then(Value::as_str);
        let (model, finish) = match self.protocol {
            Protocol::Ollama => ("/model", "/done_reason"),
            Protocol::OpenAi => ("/model", "/choices/0/finish_reason"),
            Protocol::Anthropic => ("/message/model", "/delta/stop_reason"),
            Protocol::Gemini => ("/modelVersion", "/candidates/0/finishReason"),
        };
        if let Some(model) = text(model).filter(|model| !model.is_empty()) {
            seen.model = Some(shorten(model, 256));
        }
        if let Some(finish) = text(finish) {
            seen.finish = Some(shorten(finish, 64));
        }
        seen.is_complete |= match self.protocol {
            Protocol::Ollama => frame.pointer("/done") == Some(&Value::Bool(true)),
            Protocol::OpenAi | Protocol::Gemini => seen.finish.is_some(),
            Protocol::Anthropic => text("/type") == Some("message_stop"),
        };
        if let Some(words) = text("/choices/0/delta/refusal")
            && seen.refusal.len() + words.len() <= MAX_REFUSAL_BYTES
        {
            seen.refusal.push_str(words);
        }
        // Gemini refuses a prompt by giving a reason instead of a candidate.
        if let Some(reason) = text("/promptFeedback/blockReason") {
            seen.finish = Some("SAFETY".to_owned());
            seen.refusal = format!("the prompt was blocked: {}", shorten(reason, 64));
            seen.is_complete = true;
        }
        if let Some(dollars) = frame.pointer("/usage/cost").and_then(Value::as_f64) {
            seen.cost_dollars = Some(dollars);
        }
        if let Some(error) = frame.get("error").filter(|error| !error.is_null()) {
            seen.error.get_or_insert_with(|| StreamError::of(error));
        }
    }
}

impl StreamError {
    /// Of the value of an `error` field: a text, or an object with a message.
    fn of(error: &Value) -> Self {
        let field = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default();
        let message = match error.as_str().unwrap_or_else(|| field("message")) {
            "" => error.to_string(),
            message => message.to_owned(),
        };
        Self {
            kind: shorten(field("type"), 64),
            message,
        }
    }
}

impl ChatFrameSink for Frames {
    fn on_frame(&self, _stream: &FrameCtx, frame: RawFrameRef<'_>) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // A comment that keeps the connection alive is a frame without data.
        seen.any |= !frame.data.is_empty();
        if let Some(frame) = frame.json() {
            self.look(&mut seen, &frame);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const ALL: [Protocol; 4] = [
        Protocol::Ollama,
        Protocol::OpenAi,
        Protocol::Anthropic,
        Protocol::Gemini,
    ];

    fn seen_of(protocol: Protocol, frames: &[Value]) -> Seen {
        let watch = Frames::new(protocol);
        let mut seen = Seen::default();
        for frame in frames {
            watch.look(&mut seen, frame);
        }
        seen
    }

    #[test]
    fn a_long_refusal_is_kept_within_bounds() {
        let frame = json!({"choices": [{"delta": {"refusal": "x".repeat(1000)}}]});
        let seen = seen_of(Protocol::OpenAi, &vec![frame; 100]);
        assert!(seen.refusal.len() <= MAX_REFUSAL_BYTES);
    }

    #[test]
    fn an_error_is_read_in_all_its_forms() {
        for (error, message) in [
            (json!("plain"), "plain"),
            (json!({"message": "inner", "type": "kind"}), "inner"),
            (json!({"code": 7}), "{\"code\":7}"),
        ] {
            let seen = seen_of(Protocol::OpenAi, &[json!({"error": error})]);
            assert_eq!(seen.error.expect("an error").message, message);
        }
        assert!(
            seen_of(Protocol::Ollama, &[json!({"error": null})])
                .error
                .is_none()
        );
    }

    /// JSON of the words that frames are made of.
    fn frames() -> impl Strategy<Value = Value> {
        let word = prop::sample::select(vec![
            "model",
            "done",
            "choices",
            "delta",
            "refusal",
            "finish_reason",
            "error",
            "message",
            "usage",
            "cost",
            "type",
            "message_stop",
            "candidates",
            "promptFeedback",
            "blockReason",
        ]);
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            word.clone().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::vec((word.clone(), inner), 0..4).prop_map(|fields| {
                    fields
                        .into_iter()
                        .map(|(key, value)| (key.to_owned(), value))
                        .collect()
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_frame_breaks_the_watch(frames in prop::collection::vec(frames(), 1..5)) {
            for protocol in ALL {
                seen_of(protocol, &frames);
            }
        }
    }
}
