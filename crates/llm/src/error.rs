//! What can go wrong between a question and its reply.

use crate::{Cost, Usage};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Shorthand for results of this crate.
pub type Result<T, E = LlmError> = std::result::Result<T, E>;

/// A failure of this crate. None of them shows a key.
#[derive(Debug, thiserror::Error)]
pub enum LlmError {
    /// No model was named.
    #[error("no model is chosen")]
    NoModel,
    /// A text that names no model.
    #[error("`{shown}` names no model: {reason}")]
    BadModel {
        /// The beginning of it, made printable.
        shown: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A provider that is neither built in nor configured.
    #[error("there is no provider `{provider}`: there are {known}")]
    UnknownProvider {
        /// What was named.
        provider: String,
        /// Those there are.
        known: String,
    },
    /// A provider that needs a key has none.
    #[error("{provider} needs a key and has none")]
    NoKey {
        /// Which provider.
        provider: String,
        /// The environment variable in which its key customarily is.
        variable: &'static str,
    },
    /// A text that cannot be a key. It is not shown.
    #[error("a key cannot be used: {0}")]
    BadKey(&'static str),
    /// A file that should hold a key.
    #[error("the key file {path:?}: {reason}")]
    KeyFile {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it, and what helps.
        reason: String,
    },
    /// The configuration contradicts itself.
    #[error("the configuration makes no sense: {0}")]
    Config(String),
    /// The request makes no sense.
    #[error("the request makes no sense: {0}")]
    BadRequest(&'static str),
    /// The call was made, or tried, and there is no reply.
    #[error(transparent)]
    Failed(Box<Failure>),
    /// A request that is not the one the conversation goes on with.
    #[error("the replay {path:?} does not go on like this. expected: {expected}. came: {came}")]
    ReplayMismatch {
        /// Which file.
        path: PathBuf,
        /// The lines that could have been next, shortened.
        expected: String,
        /// The request, shortened.
        came: String,
    },
    /// A replay that is none.
    #[error("the replay {path:?}, line {line}: {reason}")]
    BadReplay {
        /// Which file.
        path: PathBuf,
        /// Which line, counted from 1; 0 for the file as a whole.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A file operation.
    #[error("{what}: {cause}")]
    Io {
        /// What was attempted.
        what: String,
        /// What the system said.
        cause: io::Error,
    },
}

impl LlmError {
    /// What the caller can do, where that is not plain.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoModel => {
                "name one as PROVIDER/NAME, such as ollama/llama3.2:3b for a local Ollama server, or \
                 openrouter/NAME, openai/NAME, anthropic/NAME, gemini/NAME with a key of that provider"
                    .to_owned()
            }
            Self::BadModel { .. } => {
                "PROVIDER/NAME, such as ollama/llama3.2:3b, or replay:FILE".to_owned()
            }
            Self::UnknownProvider { .. } => "a server that speaks OpenAI's protocol becomes one by a \
                                             base URL of that name in the configuration"
                .to_owned(),
            Self::NoKey { variable, .. } => format!("set {variable}, or configure a key file"),
            Self::ReplayMismatch { .. } => "change the file, or record it anew".to_owned(),
            Self::Failed(failure) => failure.kind.hint()?.to_owned(),
            _ => return None,
        })
    }

    /// The failed call, if it is one.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Failed(failure) => Some(failure),
            _ => None,
        }
    }
}

impl From<Failure> for LlmError {
    fn from(failure: Failure) -> Self {
        Self::Failed(Box::new(failure))
    }
}

/// What became of a call that has no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// No connection; nothing was sent.
    Connect,
    /// The request is refused as it is (400, 413, 422 and the like).
    Refused,
    /// The key is not accepted (401, 403).
    Unauthorized,
    /// No such model, or no such address (404).
    NotFound,
    /// Too many requests (429).
    RateLimited,
    /// Too much to do (503, Anthropic's 529).
    Overloaded,
    /// The provider failed (other statuses, or an error within the stream).
    Server,
    /// It took longer than the limit for one attempt.
    TimeOut,
    /// Nothing came for longer than the limit.
    Stalled,
    /// The reply broke off.
    BrokenOff,
    /// What came is not of the provider's protocol.
    NotUnderstood,
    /// The reply has no text.
    Empty,
    /// The reply is longer than the limit.
    TooLong,
    /// The caller cancelled.
    Cancelled,
}

impl FailureKind {
    /// What happened, as the rest of a sentence that begins with the provider.
    fn phrase(self) -> &'static str {
        match self {
            Self::Connect => "cannot be reached",
            Self::Refused => "refused the request",
            Self::Unauthorized => "did not accept the key",
            Self::NotFound => "does not know this model or address",
            Self::RateLimited => "wants fewer requests",
            Self::Overloaded => "is overloaded",
            Self::Server => "failed",
            Self::TimeOut => "did not finish in time",
            Self::Stalled => "stopped sending",
            Self::BrokenOff => "broke off its reply",
            Self::NotUnderstood => "sent what is not of its protocol",
            Self::Empty => "replied with no text",
            Self::TooLong => "replied with more than the limit",
            Self::Cancelled => "was not waited for: the call was cancelled",
        }
    }

    /// What the caller can do, where that is not plain.
    #[must_use]
    pub fn hint(self) -> Option<&'static str> {
        Some(match self {
            Self::Connect => "check that it runs, and its base URL",
            Self::Unauthorized => "check the key configured for this provider",
            Self::NotFound => "check the model's name, and the base URL",
            Self::RateLimited | Self::Overloaded => "try again later, or ask another model",
            Self::TimeOut | Self::Stalled => "raise the time limit, or ask for less",
            Self::TooLong => "raise max_reply_bytes, or set max_tokens",
            _ => return None,
        })
    }
}

/// A call without a reply: what happened, and what it may have cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Who was asked.
    pub provider: String,
    /// What happened.
    pub kind: FailureKind,
    /// The HTTP status, if there was one.
    pub status: Option<u16>,
    /// What the provider or the system said: one line, shortened, without keys.
    pub message: String,
    /// How long the provider asked to wait.
    pub retry_after: Option<Duration>,
    /// Requests made.
    pub attempts: u32,
    /// What the call may have used; `None` if nothing was processed.
    pub usage: Option<Usage>,
    /// What that may have cost; `None` if nothing was used, or nobody says.
    pub cost: Option<Cost>,
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.provider, self.kind.phrase())?;
        if let Some(status) = self.status {
            write!(out, " (HTTP {status})")?;
        }
        if self.attempts > 1 {
            write!(out, ", {} attempts", self.attempts)?;
        }
        if let Some(wait) = self.retry_after {
            write!(out, ", asks to wait {wait:?}")?;
        }
        if !self.message.is_empty() {
            write!(out, ": {}", self.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}
