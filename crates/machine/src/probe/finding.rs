//! What was found out about one thing.

use serde::Serialize;

/// One thing the host may have. In JSON: `{"status":"ok", ...}` with what was found, or
/// `{"status":"missing","reason":...,"hint":...}`, the same with `denied`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub enum Finding<T> {
    /// It is there and works.
    Ok(T),
    /// It is not there, or does not work.
    Missing {
        /// What was seen.
        reason: String,
        /// What to do about it.
        hint: String,
    },
    /// It is there, and this user may not use it.
    Denied {
        /// What was seen.
        reason: String,
        /// What to do about it.
        hint: String,
    },
}

impl<T> Finding<T> {
    /// What was found, if it works.
    pub fn ok(&self) -> Option<&T> {
        match self {
            Self::Ok(found) => Some(found),
            Self::Missing { .. } | Self::Denied { .. } => None,
        }
    }

    /// Why it does not work and what to do, in one line; empty if it works.
    #[must_use]
    pub fn trouble(&self) -> String {
        match self {
            Self::Ok(_) => String::new(),
            Self::Missing { reason, hint } | Self::Denied { reason, hint } => {
                format!("{reason}: {hint}")
            }
        }
    }

    pub(super) fn missing(reason: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Missing {
            reason: reason.into(),
            hint: hint.into(),
        }
    }

    pub(super) fn denied(reason: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Denied {
            reason: reason.into(),
            hint: hint.into(),
        }
    }
}
