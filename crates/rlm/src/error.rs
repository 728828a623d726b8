//! What can go wrong: the specification's errors (section 5.2), and a few that it lacks.

use ukernel_kg::{KgEscalationRequired, SuggestedAction};
use ukernel_llm::{FailureKind, LlmError};
use ukernel_sandbox::{SandboxError, SessionId, SnapshotId};
use ukernel_trajectory::{ReplayError, WriteError};

/// Shorthand for results of this crate.
pub type Result<T, E = RlmError> = std::result::Result<T, E>;

/// An error of any kind, behind one of this crate.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// What is wrong, in words, with what to do and the error behind it if there are any.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct Problem {
    text: String,
    hint: Option<String>,
    #[source]
    cause: Option<Cause>,
}

impl Problem {
    /// The same, with what to do.
    #[must_use]
    pub fn hinting(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    fn hint(&self) -> Option<String> {
        let cause = || hint_of(self.cause.as_deref()?);
        self.hint.clone().or_else(cause)
    }

    /// An error in these words.
    pub fn new(text: impl Into<String>, cause: impl Into<Cause>) -> Self {
        Self {
            text: text.into(),
            hint: None,
            cause: Some(cause.into()),
        }
    }

    /// An error in its own words.
    pub fn of(cause: impl Into<Cause>) -> Self {
        let cause = cause.into();
        Self::new(cause.to_string(), cause)
    }

    /// An error about something, which is named first.
    pub fn about(what: impl std::fmt::Display, cause: impl Into<Cause>) -> Self {
        let cause = cause.into();
        Self::new(format!("{what}: {cause}"), cause)
    }
}

impl<T: Into<String>> From<T> for Problem {
    fn from(text: T) -> Self {
        Self {
            text: text.into(),
            hint: None,
            cause: None,
        }
    }
}

/// What to do about an error of the crates below.
fn hint_of(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    if let Some(error) = error.downcast_ref::<LlmError>() {
        return error.hint();
    }
    if let Some(error) = error.downcast_ref::<ReplayError>() {
        return Some(error.hint());
    }
    if let Some(error) = error.downcast_ref::<Problem>() {
        return error.hint();
    }
    error
        .is::<WriteError>()
        .then(|| WriteError::HINT.to_owned())
}

/// A failure of a run, or of something asked of a session.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RlmError {
    /// A command took too long. Its VM is gone; the session stands as it was before.
    #[error("time limit of {limit_ms} ms reached after {elapsed_ms} ms")]
    ExecutionTimeout {
        /// How long it ran, in milliseconds.
        elapsed_ms: u64,
        /// How long it might.
        limit_ms: u64,
        /// What it wrote until then.
        stdout: String,
        /// And to standard error.
        stderr: String,
    },
    /// A command ended badly where it had to end well.
    #[error("the code failed with exit code {exit_code}: {stderr}")]
    ExecutionFailed {
        /// Its exit code, 1 for an exception.
        exit_code: i32,
        /// What it wrote to standard error.
        stderr: String,
    },
    /// The run has no tokens left, and no answer.
    #[error(
        "token budget exceeded: {used} of {limit} used, {kept} kept for a last answer, and the next call may need {wanted}"
    )]
    TokenBudgetExceeded {
        /// Tokens used.
        used: u64,
        /// Tokens that only the last answer may use, or that are reserved.
        kept: u64,
        /// Tokens there were.
        limit: u64,
        /// The most that the next call could have used.
        wanted: u64,
    },
    /// The run has no money left, and no answer.
    #[error(
        "budget of {limit} micro-dollars exceeded: {used} used, and the next call may need {wanted}"
    )]
    MoneyBudgetExceeded {
        /// Millionths of a US dollar used.
        used: u64,
        /// Those there were.
        limit: u64,
        /// The most that the next call could have used.
        wanted: u64,
    },
    /// The run has no queries left, and no answer.
    #[error("budget of {limit} sub-calls exceeded: put more into each")]
    SubCallBudgetExceeded {
        /// Queries there were.
        limit: u64,
    },
    /// The run has no time left, and no answer.
    #[error("time budget exceeded: {elapsed_ms} ms of {limit_ms}")]
    TimeBudgetExceeded {
        /// Time used, in milliseconds.
        elapsed_ms: u64,
        /// Time there was.
        limit_ms: u64,
    },
    /// A query would be nested too deeply.
    #[error("recursion depth {depth} is over the limit of {limit}: use query_llm there")]
    RecursionLimitExceeded {
        /// How deep it would be.
        depth: u32,
        /// How deep it may be.
        limit: u32,
    },
    /// A command speaks of unknown terms and may not run.
    #[error("unknown terms after {attempts} attempts: {}", unknown_terms.join(", "))]
    KgValidationFailed {
        /// The terms.
        unknown_terms: Vec<String>,
        /// Attempts in a row.
        attempts: u32,
    },
    /// A person has to decide on unknown terms.
    #[error("somebody has to decide on unknown terms: {}", unknown_terms.join(", "))]
    KgEscalationRequired {
        /// The terms.
        unknown_terms: Vec<String>,
        /// The command around the first of them.
        context: String,
        /// What is proposed.
        suggested_action: SuggestedAction,
    },
    /// No VM was there in time, or none can be started.
    #[error("there is no VM: {reason}")]
    VmAllocationFailed {
        /// Why.
        #[source]
        reason: SandboxError,
    },
    /// A VM was lost.
    #[error("the VM was lost: {details}")]
    VmCommunicationError {
        /// How.
        details: String,
    },
    /// There is no such session.
    #[error("there is no session {session_id}")]
    SessionNotFound {
        /// Which.
        session_id: SessionId,
    },
    /// The session's time is up, or it was destroyed.
    #[error("session {session_id} has ended")]
    SessionExpired {
        /// Which.
        session_id: SessionId,
    },
    /// There is no such snapshot.
    #[error("there is no snapshot {snapshot_id} in this session")]
    SnapshotNotFound {
        /// Which.
        snapshot_id: SnapshotId,
    },
    /// The session has as many snapshots as it may.
    #[error("{current} of {limit} snapshots: a session may have no more")]
    SnapshotLimitExceeded {
        /// Those there are.
        current: u32,
        /// Those there may be.
        limit: u32,
    },
    /// A model has no reply.
    #[error("{message}")]
    LlmProviderError {
        /// Who was asked.
        provider: String,
        /// What happened.
        message: String,
        /// Whether nobody was there to be asked: no connection, no key, no such model.
        is_setup: bool,
        /// The same, as the client told it.
        #[source]
        cause: Cause,
    },
    /// The model gave no answer that the schema allows.
    #[error("the answer does not fit the schema: {reason}")]
    AnswerDoesNotFit {
        /// What is wrong with the last one.
        reason: String,
    },
    /// The model did not answer, and there is nothing to make the best of.
    #[error("no answer: {reason}")]
    NoAnswer {
        /// Why it was stopped.
        reason: String,
    },
    /// The caller cancelled.
    #[error("cancelled")]
    Cancelled,
    /// A context that cannot be used.
    #[error(transparent)]
    Context(Problem),
    /// A configuration that cannot be used. Made by [`Self::config`].
    #[error(transparent)]
    Config(Problem),
    /// Something else in the sandbox.
    #[error(transparent)]
    Sandbox(SandboxError),
    /// A failure in here.
    #[error("{message}")]
    InternalError {
        /// What.
        message: String,
        /// The error behind it, if there is one.
        #[source]
        cause: Option<Cause>,
    },
}

impl RlmError {
    /// What the caller can do, where that is not plain.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::ExecutionTimeout { .. } => "raise execution_timeout_ms, or do less at once",
            Self::TokenBudgetExceeded { .. } => "raise max_total_tokens (--budget-tokens)",
            Self::MoneyBudgetExceeded { .. } => "raise max_total_micro_dollars (--budget-usd)",
            Self::SubCallBudgetExceeded { .. } => "raise max_sub_calls",
            Self::TimeBudgetExceeded { .. } => "raise max_wall_clock_ms (--budget-seconds)",
            Self::RecursionLimitExceeded { .. } => "raise max_recursion_depth",
            Self::KgValidationFailed { .. } => "use known terms, or approve these",
            Self::KgEscalationRequired { .. } => "approve or reject them, then ask again",
            Self::Context(problem) | Self::Config(problem) => return problem.hint(),
            Self::LlmProviderError { cause, .. }
            | Self::InternalError {
                cause: Some(cause), ..
            } => return hint_of(cause.as_ref()),
            _ => return None,
        };
        Some(hint.to_owned())
    }

    /// A failure in here.
    pub fn internal(problem: impl Into<Problem>) -> Self {
        let Problem { text, cause, .. } = problem.into();
        Self::InternalError {
            message: text,
            cause,
        }
    }

    /// A configuration that cannot be used.
    pub fn config(problem: impl Into<Problem>) -> Self {
        let problem = problem.into();
        let text = format!("the configuration makes no sense: {}", problem.text);
        Self::Config(Problem { text, ..problem })
    }

    pub(crate) fn context(problem: impl Into<Problem>) -> Self {
        Self::Context(problem.into())
    }

    /// A sandbox's error, about this session.
    pub(crate) fn of_sandbox(error: SandboxError, session: SessionId) -> Self {
        match error {
            SandboxError::TimeLimit { limit, output, .. } => {
                let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
                Self::ExecutionTimeout {
                    elapsed_ms: limit_ms,
                    limit_ms,
                    stdout: output.stdout,
                    stderr: output.stderr,
                }
            }
            SandboxError::Cancelled { .. } => Self::Cancelled,
            SandboxError::VmLost { reason, .. } => Self::VmCommunicationError { details: reason },
            SandboxError::SessionEnded(_) => Self::SessionExpired {
                session_id: session,
            },
            SandboxError::NoSession(_) => Self::SessionNotFound {
                session_id: session,
            },
            reason @ (SandboxError::AllocationTimeout { .. } | SandboxError::NoBackend { .. }) => {
                Self::VmAllocationFailed { reason }
            }
            other => Self::Sandbox(other),
        }
    }
}

impl From<LlmError> for RlmError {
    fn from(error: LlmError) -> Self {
        if let LlmError::BadReplay { .. } = &error {
            return Self::Config(Problem::of(error));
        }
        let provider = match &error {
            LlmError::Failed(failure) => failure.provider.clone(),
            LlmError::NoKey { provider, .. } | LlmError::UnknownProvider { provider, .. } => {
                provider.clone()
            }
            LlmError::ReplayMismatch { .. } => "replay".to_owned(),
            _ => String::new(),
        };
        let is_setup = match &error {
            LlmError::Failed(failure) => matches!(
                failure.kind,
                FailureKind::Connect | FailureKind::Unauthorized | FailureKind::NotFound
            ),
            LlmError::ReplayMismatch { .. } => false,
            _ => true,
        };
        Self::LlmProviderError {
            is_setup,
            provider,
            message: error.to_string(),
            cause: error.into(),
        }
    }
}

impl From<WriteError> for RlmError {
    fn from(error: WriteError) -> Self {
        Self::internal(Problem::of(error))
    }
}

impl From<ReplayError> for RlmError {
    fn from(error: ReplayError) -> Self {
        Self::config(Problem::of(error))
    }
}

impl From<KgEscalationRequired> for RlmError {
    fn from(request: KgEscalationRequired) -> Self {
        Self::KgEscalationRequired {
            unknown_terms: request.unknown_terms,
            context: request.context,
            suggested_action: request.suggested_action,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error;
    use std::io;

    fn source_of<T: Error + 'static>(error: &RlmError) -> Option<&T> {
        error.source()?.downcast_ref()
    }

    #[test]
    fn an_error_keeps_the_one_behind_it() {
        let gone = || io::Error::from(io::ErrorKind::NotFound);
        let config = RlmError::config(Problem::about("the thesaurus /x", gone()));
        assert!(
            config
                .to_string()
                .starts_with("the configuration makes no sense: the thesaurus /x: ")
        );
        assert!(source_of::<io::Error>(&config).is_some());
        let context = RlmError::context(Problem::of(gone()));
        assert!(source_of::<io::Error>(&context).is_some());
        let written = RlmError::from(WriteError {
            path: "/x".into(),
            cause: std::sync::Arc::new(gone()),
        });
        assert!(source_of::<WriteError>(&written).is_some());
        let model = RlmError::from(LlmError::NoModel);
        assert!(source_of::<LlmError>(&model).is_some());
        assert!(RlmError::config("in words only").source().is_none());
    }

    #[test]
    fn what_to_do_is_said_apart_from_what_happened() {
        let says = |error: RlmError, what: &str, hint: &str| {
            assert_eq!(error.to_string(), what);
            assert_eq!(error.hint().as_deref(), Some(hint));
        };
        let price = Problem::from("there is no price").hinting("set it");
        says(
            RlmError::config(price),
            "the configuration makes no sense: there is no price",
            "set it",
        );
        let key = || LlmError::NoKey {
            provider: "mine".to_owned(),
            variable: "MINE_KEY",
        };
        let hint = "set MINE_KEY, or configure a key file";
        says(key().into(), "mine needs a key and has none", hint);
        let within = RlmError::config(Problem::about("provider mine", key()));
        assert_eq!(within.hint().as_deref(), Some(hint));
        assert_eq!(RlmError::Cancelled.hint(), None);
    }
}
