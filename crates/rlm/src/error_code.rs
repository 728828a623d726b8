//! What programs go by: every kind of failure has a number, a name and data (specification,
//! section 2.10.6).

use crate::RlmError;
use serde_json::{Value, json};

/// Tells kinds of failures apart. Numbers and names stay what they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorCode {
    /// Outside of the range that JSON-RPC 2.0 keeps for itself (-32768 to -32000).
    pub number: i32,
    /// The same in a word.
    pub name: &'static str,
    /// What it means, for people.
    pub meaning: &'static str,
}

macro_rules! codes {
    ($($constant:ident = $number:literal $name:literal $meaning:literal;)+) => {
        impl ErrorCode {
            $(#[doc = $meaning]
            pub const $constant: Self = Self {
                number: $number,
                name: $name,
                meaning: $meaning,
            };)+

            /// All there are, by their numbers.
            pub const ALL: &[Self] = &[$(Self::$constant),+];
        }
    };
}

codes! {
    EXECUTION_TIMEOUT = 1001 "execution_timeout" "Code met its time limit. The session stands as it was before.";
    EXECUTION_FAILED = 1002 "execution_failed" "Code of ours failed where it had to end well.";
    TOKEN_BUDGET = 1003 "token_budget_exceeded" "The run has no tokens left, and no answer.";
    MONEY_BUDGET = 1004 "money_budget_exceeded" "The run has no money left, and no answer.";
    SUB_CALL_BUDGET = 1005 "sub_call_budget_exceeded" "The run has no queries left, and no answer.";
    TIME_BUDGET = 1006 "time_budget_exceeded" "The run has no time left, and no answer.";
    RECURSION_LIMIT = 1007 "recursion_limit_exceeded" "A query would be nested too deeply.";
    KG_VALIDATION = 1008 "kg_validation_failed" "A command speaks of unknown terms and did not run.";
    KG_ESCALATION = 1009 "kg_escalation_required" "A person has to approve or reject unknown terms.";
    NO_VM = 1010 "vm_allocation_failed" "No VM was there in time, or none can be started.";
    VM_LOST = 1011 "vm_lost" "The VM was lost. The session goes on from its last checkpoint.";
    NO_SESSION = 1012 "session_not_found" "There is no such session of this caller.";
    SESSION_EXPIRED = 1013 "session_expired" "The session's time is up, or it was destroyed.";
    NO_SNAPSHOT = 1014 "snapshot_not_found" "There is no such snapshot in the session.";
    SNAPSHOT_LIMIT = 1015 "snapshot_limit_exceeded" "The session has as many snapshots as it may.";
    MODEL = 1016 "model_failed" "The model gave no reply.";
    NO_MODEL = 1017 "no_model" "Nobody is there to be asked: no connection, no key, no such model.";
    ANSWER_DOES_NOT_FIT = 1018 "answer_does_not_fit" "The model gave no answer that the schema allows.";
    NO_ANSWER = 1019 "no_answer" "The model did not answer.";
    CANCELLED = 1020 "cancelled" "The caller cancelled.";
    CONTEXT = 1021 "context" "A context that cannot be used.";
    CONFIG = 1022 "config" "A configuration, or a request, that makes no sense.";
    SANDBOX = 1023 "sandbox" "The sandbox refused or failed.";
    INTERNAL = 1024 "internal" "A failure of the runtime itself.";
}

impl RlmError {
    /// What kind of failure it is.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::ExecutionTimeout { .. } => ErrorCode::EXECUTION_TIMEOUT,
            Self::ExecutionFailed { .. } => ErrorCode::EXECUTION_FAILED,
            Self::TokenBudgetExceeded { .. } => ErrorCode::TOKEN_BUDGET,
            Self::MoneyBudgetExceeded { .. } => ErrorCode::MONEY_BUDGET,
            Self::SubCallBudgetExceeded { .. } => ErrorCode::SUB_CALL_BUDGET,
            Self::TimeBudgetExceeded { .. } => ErrorCode::TIME_BUDGET,
            Self::RecursionLimitExceeded { .. } => ErrorCode::RECURSION_LIMIT,
            Self::KgValidationFailed { .. } => ErrorCode::KG_VALIDATION,
            Self::KgEscalationRequired { .. } => ErrorCode::KG_ESCALATION,
            Self::VmAllocationFailed { .. } => ErrorCode::NO_VM,
            Self::VmCommunicationError { .. } => ErrorCode::VM_LOST,
            Self::SessionNotFound { .. } => ErrorCode::NO_SESSION,
            Self::SessionExpired { .. } => ErrorCode::SESSION_EXPIRED,
            Self::SnapshotNotFound { .. } => ErrorCode::NO_SNAPSHOT,
            Self::SnapshotLimitExceeded { .. } => ErrorCode::SNAPSHOT_LIMIT,
            Self::LlmProviderError { is_setup: true, .. } => ErrorCode::NO_MODEL,
            Self::LlmProviderError { .. } => ErrorCode::MODEL,
            Self::AnswerDoesNotFit { .. } => ErrorCode::ANSWER_DOES_NOT_FIT,
            Self::NoAnswer { .. } => ErrorCode::NO_ANSWER,
            Self::Cancelled => ErrorCode::CANCELLED,
            Self::Context(_) => ErrorCode::CONTEXT,
            Self::Config(_) => ErrorCode::CONFIG,
            Self::Sandbox(_) => ErrorCode::SANDBOX,
            Self::InternalError { .. } => ErrorCode::INTERNAL,
        }
    }

    /// Figures and names that a program would otherwise look for in the message; `None` if there are
    /// none.
    #[must_use]
    pub fn data(&self) -> Option<Value> {
        Some(match self {
            Self::ExecutionTimeout {
                elapsed_ms,
                limit_ms,
                stdout,
                stderr,
            } => json!({
                "elapsed_ms": elapsed_ms,
                "limit_ms": limit_ms,
                "stdout": stdout,
                "stderr": stderr,
            }),
            Self::ExecutionFailed { exit_code, stderr } => {
                json!({"exit_code": exit_code, "stderr": stderr})
            }
            Self::TokenBudgetExceeded {
                used,
                kept,
                limit,
                wanted,
            } => json!({"used": used, "kept": kept, "limit": limit, "wanted": wanted}),
            Self::MoneyBudgetExceeded {
                used,
                limit,
                wanted,
            } => json!({"used": used, "limit": limit, "wanted": wanted}),
            Self::SubCallBudgetExceeded { limit } => json!({"limit": limit}),
            Self::TimeBudgetExceeded {
                elapsed_ms,
                limit_ms,
            } => json!({"elapsed_ms": elapsed_ms, "limit_ms": limit_ms}),
            Self::RecursionLimitExceeded { depth, limit } => {
                json!({"depth": depth, "limit": limit})
            }
            Self::KgValidationFailed {
                unknown_terms,
                attempts,
            } => json!({"unknown_terms": unknown_terms, "attempts": attempts}),
            Self::KgEscalationRequired {
                unknown_terms,
                context,
                suggested_action,
            } => json!({
                "unknown_terms": unknown_terms,
                "context": context,
                "suggested_action": suggested_action,
            }),
            Self::SnapshotLimitExceeded { current, limit } => {
                json!({"current": current, "limit": limit})
            }
            Self::LlmProviderError { provider, .. } => json!({"provider": provider}),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn codes_differ_and_are_no_codes_of_json_rpc() {
        let numbers: BTreeSet<i32> = ErrorCode::ALL.iter().map(|code| code.number).collect();
        let names: BTreeSet<&str> = ErrorCode::ALL.iter().map(|code| code.name).collect();
        assert_eq!(numbers.len(), ErrorCode::ALL.len());
        assert_eq!(names.len(), ErrorCode::ALL.len());
        assert!(
            numbers
                .iter()
                .all(|number| !(-32768..=-32000).contains(number))
        );
    }
}
