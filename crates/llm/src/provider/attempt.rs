//! One request, and the stream that answers it.

use super::calls::Calls;
use super::failure::Fault;
use super::frames::{Frames, Seen};
use super::wire::{self, Protocol};
use crate::config::{Endpoint, ReplyLimits};
use crate::{FailureKind, FinishReason, Provider, Request};
use futures_util::StreamExt;
use genai::chat::{ChatStreamEvent, StopReason, StreamEnd};
use std::sync::Arc;
use tokio::sync::mpsc;
use tracing::instrument::WithSubscriber;
use tracing::subscriber::NoSubscriber;

/// Everything one request needs.
pub(super) struct Attempt<'a> {
    pub library: &'a genai::Client,
    pub limits: &'a ReplyLimits,
    pub request: &'a Request,
    pub provider: &'a Provider,
    pub name: &'a str,
    pub endpoint: &'a Endpoint,
    pub pieces: &'a mpsc::Sender<String>,
}

/// What came, be it whole or not.
pub(super) struct Received {
    /// The text.
    pub text: String,
    /// Tool calls that came beside it.
    pub calls: Calls,
    /// Bytes of text, reasoning and tool calls.
    pub bytes: u64,
    /// The provider's counts of tokens: of the request, and of the reply.
    pub counted: (Option<u64>, Option<u64>),
    /// What else the frames said.
    pub frames: Arc<Frames>,
}

impl Default for Received {
    fn default() -> Self {
        Self {
            text: String::new(),
            calls: Calls::default(),
            bytes: 0,
            counted: (None, None),
            frames: Arc::new(Frames::new(Protocol::OpenAi)),
        }
    }
}

impl Received {
    /// Whether any part of a reply came. From then on the call is not tried again.
    pub(super) fn has_begun(&self) -> bool {
        self.bytes > 0
    }

    /// Why the reply ended.
    pub(super) fn finish(&self, seen: &Seen) -> FinishReason {
        if !seen.refusal.is_empty() {
            return FinishReason::Filtered;
        }
        match seen.finish.clone().map(StopReason::from) {
            Some(StopReason::Completed(_) | StopReason::StopSequence(_)) => FinishReason::Stop,
            Some(StopReason::MaxTokens(_)) => FinishReason::Length,
            Some(StopReason::ContentFilter(_)) => FinishReason::Filtered,
            Some(StopReason::ToolCall(_) | StopReason::Other(_)) | None => FinishReason::Other,
        }
    }

    /// Takes bytes into account, up to the limit.
    fn weigh(&mut self, bytes: u64, limits: &ReplyLimits) -> Result<(), Fault> {
        self.bytes += bytes;
        if self.bytes > limits.max_reply_bytes {
            let limit = format!("{} bytes", limits.max_reply_bytes);
            return Err(Fault::said(FailureKind::TooLong, limit));
        }
        Ok(())
    }

    fn count(&mut self, end: &StreamEnd) {
        // The library counts in i32. A provider that counts below zero has not counted.
        let tokens = |count: Option<i32>| count.and_then(|count| u64::try_from(count).ok());
        if let Some(usage) = &end.captured_usage {
            self.counted = (tokens(usage.prompt_tokens), tokens(usage.completion_tokens));
        }
    }
}

impl Attempt<'_> {
    /// Makes the request and reads the reply to its end. `attempts` is counted up when it begins.
    pub(super) async fn run(
        &self,
        received: &mut Received,
        attempts: &mut u32,
    ) -> Result<(), Fault> {
        *attempts += 1;
        let limit = self.limits.request_timeout();
        // The library logs what providers answer. See the crate's root.
        let reading = self.read(received).with_subscriber(NoSubscriber::default());
        match tokio::time::timeout(limit, reading).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Fault::said(
                FailureKind::TimeOut,
                format!("limit {limit:?}"),
            )),
        }
    }

    async fn read(&self, received: &mut Received) -> Result<(), Fault> {
        let protocol = Protocol::of(self.provider, self.request);
        let frames = Arc::new(Frames::new(protocol));
        received.frames = frames.clone();
        let target = wire::target(self.provider, protocol, self.endpoint, self.name);
        let options = wire::options(
            self.request,
            protocol,
            self.endpoint,
            self.limits,
            frames.clone(),
        );
        let answer = self
            .library
            .exec_chat_stream(target, wire::conversation(self.request), Some(&options))
            .await
            .map_err(|error| Fault::of_library(&error))?;
        let mut events = answer.stream;
        while let Some(event) = events.next().await {
            // An error the frames told of says more than the library's about it.
            if let Some(error) = frames.error() {
                return Err(Fault::of_stream(error));
            }
            match event.map_err(|error| Fault::of_library(&error))? {
                ChatStreamEvent::Chunk(piece) => {
                    received.weigh(piece.content.len() as u64, self.limits)?;
                    received.text.push_str(&piece.content);
                    // A listener that is gone does not change the reply.
                    let _ = self.pieces.send(piece.content).await;
                }
                ChatStreamEvent::ReasoningChunk(piece) => {
                    received.weigh(piece.content.len() as u64, self.limits)?;
                }
                ChatStreamEvent::End(end) => {
                    received.count(&end);
                    break;
                }
                ChatStreamEvent::ToolCallChunk(piece) => {
                    let before = received.calls.bytes();
                    received.calls.add(piece.tool_call);
                    let more = received.calls.bytes().saturating_sub(before);
                    received.weigh(more, self.limits)?;
                }
                ChatStreamEvent::Start
                | ChatStreamEvent::ThoughtSignatureChunk(_)
                | ChatStreamEvent::Heartbeat => {}
            }
        }
        Self::check_end(&frames.seen())?;
        let calls = received.calls.text();
        if !calls.is_empty() {
            received.text.push_str(&calls);
            let _ = self.pieces.send(calls).await;
        }
        Ok(())
    }

    /// Whether the stream came to its end. The library says so of some that did not.
    fn check_end(seen: &Seen) -> Result<(), Fault> {
        if let Some(error) = &seen.error {
            return Err(Fault::of_stream(error.clone()));
        }
        if seen.is_complete {
            return Ok(());
        }
        if seen.any {
            return Err(Fault::of(FailureKind::BrokenOff));
        }
        let what = "the reply is no stream, or an empty one".to_owned();
        Err(Fault::said(FailureKind::NotUnderstood, what))
    }
}
