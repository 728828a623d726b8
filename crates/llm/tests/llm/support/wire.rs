//! The wire formats, as a server writes them.

use super::{Server, client_of, config_at};
use serde_json::{Value, json};
use ukernel_llm::ProviderClient;

/// A key that must not show up anywhere.
pub const KEY: &str = "sk-test-0123456789abcdef";

/// A protocol, and a model that is asked by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    OpenAi,
    Ollama,
    Anthropic,
    Gemini,
}

pub const ALL: [Wire; 4] = [Wire::OpenAi, Wire::Ollama, Wire::Anthropic, Wire::Gemini];

impl Wire {
    pub fn provider(self) -> &'static str {
        match self {
            Self::OpenAi => "mine",
            Self::Ollama => "ollama",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
        }
    }

    /// The model's name, as it is asked for.
    pub fn model(self) -> String {
        format!("{}/tiny", self.provider())
    }

    /// A client whose provider is this server.
    pub fn client(self, server: &Server) -> ProviderClient {
        client_of(self.config(server))
    }

    pub fn config(self, server: &Server) -> ukernel_llm::LlmConfig {
        config_at(self.provider(), &server.url, Some(KEY))
    }

    /// What comes before a stream.
    pub fn head(self) -> String {
        let kind = match self {
            Self::Ollama => "application/x-ndjson",
            _ => "text/event-stream",
        };
        format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\nconnection: close\r\n\r\n")
    }

    /// One frame.
    pub fn frame(self, data: &Value) -> String {
        match self {
            Self::Ollama => format!("{data}\n"),
            Self::Anthropic => {
                let event = data["type"].as_str().unwrap_or("message");
                format!("event: {event}\ndata: {data}\n\n")
            }
            Self::OpenAi | Self::Gemini => format!("data: {data}\n\n"),
        }
    }

    /// What comes before the first piece of text; for most, nothing.
    pub fn begin(self) -> String {
        match self {
            Self::Anthropic => {
                let message =
                    json!({"model": "tiny-2", "usage": {"input_tokens": 11, "output_tokens": 1}});
                let start = json!({"type": "message_start", "message": message});
                let block = json!({"type": "content_block_start", "index": 0,
                    "content_block": {"type": "text", "text": ""}});
                self.frame(&start) + &self.frame(&block)
            }
            _ => String::new(),
        }
    }

    /// A piece of text.
    pub fn piece(self, text: &str) -> String {
        self.frame(&match self {
            Self::OpenAi => {
                json!({"model": "tiny-2", "choices": [{"index": 0, "delta": {"content": text}}]})
            }
            Self::Ollama => json!({"model": "tiny-2", "done": false,
                "message": {"role": "assistant", "content": text}}),
            Self::Anthropic => json!({"type": "content_block_delta", "index": 0,
                "delta": {"type": "text_delta", "text": text}}),
            Self::Gemini => json!({"modelVersion": "tiny-2", "candidates": [
                {"content": {"role": "model", "parts": [{"text": text}]}}]}),
        })
    }

    /// The word for an end that is as it should be.
    pub fn stop(self) -> &'static str {
        match self {
            Self::OpenAi | Self::Ollama => "stop",
            Self::Anthropic => "end_turn",
            Self::Gemini => "STOP",
        }
    }

    /// The end, with a reason and, if wanted, with usage 11 and 7.
    pub fn end(self, reason: &str, has_usage: bool) -> String {
        match self {
            Self::OpenAi => {
                let choice = json!({"index": 0, "delta": {}, "finish_reason": reason});
                let mut end = self.frame(&json!({"model": "tiny-2", "choices": [choice]}));
                if has_usage {
                    let usage =
                        json!({"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18});
                    end += &self.frame(&json!({"choices": [], "usage": usage}));
                }
                end + "data: [DONE]\n\n"
            }
            Self::Ollama => {
                let mut end = json!({"model": "tiny-2", "done": true, "done_reason": reason,
                    "message": {"role": "assistant", "content": ""}});
                if has_usage {
                    end["prompt_eval_count"] = json!(11);
                    end["eval_count"] = json!(7);
                }
                self.frame(&end)
            }
            Self::Anthropic => {
                let mut delta = json!({"type": "message_delta", "delta": {"stop_reason": reason}});
                if has_usage {
                    delta["usage"] = json!({"output_tokens": 7});
                }
                self.frame(&json!({"type": "content_block_stop", "index": 0}))
                    + &self.frame(&delta)
                    + &self.frame(&json!({"type": "message_stop"}))
            }
            Self::Gemini => {
                let candidate = json!({"finishReason": reason});
                let mut end = json!({"modelVersion": "tiny-2", "candidates": [candidate]});
                if has_usage {
                    end["usageMetadata"] =
                        json!({"promptTokenCount": 11, "candidatesTokenCount": 7});
                }
                self.frame(&end)
            }
        }
    }

    /// A whole answer of these pieces.
    pub fn reply(self, pieces: &[&str]) -> String {
        let text: String = pieces.iter().map(|piece| self.piece(piece)).collect();
        self.head() + &self.begin() + &text + &self.end(self.stop(), true)
    }
}
