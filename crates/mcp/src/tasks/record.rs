//! What is known of a task, in memory and in its file.

use crate::approval::Asked;
use crate::caller::Caller;
use crate::replies::Status;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What a task does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Kind {
    /// Which tool it is a call of.
    pub(crate) tool: String,
    /// With which arguments, if it can be done again from the start: it needs no session.
    pub(crate) again: Option<Value>,
}

/// How a task ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ended {
    /// With a tool's result, which may be an error that the tool tells of.
    Completed(Value),
    /// With a JSON-RPC error.
    Failed(Value),
    /// Cancelled before it had a result.
    Cancelled,
    /// The server ended while it ran.
    Lost,
}

/// How a task stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Standing {
    /// It runs.
    Working,
    /// A person has to decide something.
    InputRequired(Asked),
    /// It has ended.
    Ended(Ended),
}

/// What is known of a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) id: String,
    pub(crate) caller: Caller,
    pub(crate) kind: Kind,
    /// Handle of the session it runs in, if that lasts.
    pub(crate) session: Option<String>,
    pub(crate) standing: Standing,
    pub(crate) percent: u8,
    pub(crate) step: String,
    /// Milliseconds since 1970.
    pub(crate) created_ms: u64,
    pub(crate) updated_ms: u64,
    /// How long it is kept, from its beginning.
    pub(crate) life_ms: u64,
    /// The server that runs it: every client that starts one has its own, over the same folder.
    #[serde(default)]
    pub(crate) process: u32,
}

impl Record {
    pub(crate) fn new(id: String, caller: Caller, kind: Kind, life: Duration) -> Self {
        let now = now_ms();
        Self {
            id,
            caller,
            kind,
            session: None,
            standing: Standing::Working,
            percent: 0,
            step: "begun".to_owned(),
            created_ms: now,
            updated_ms: now,
            life_ms: u64::try_from(life.as_millis()).unwrap_or(u64::MAX),
            process: std::process::id(),
        }
    }

    /// Whether another server, which lives, runs it.
    pub(crate) fn runs_elsewhere(&self) -> bool {
        !self.has_ended()
            && self.process != std::process::id()
            && std::path::Path::new(&format!("/proc/{}", self.process)).exists()
    }

    pub(crate) fn touch(&mut self) {
        self.updated_ms = now_ms();
    }

    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.standing, Standing::Ended(_))
    }

    /// Whether its time is up. `life` bounds what the record says of itself.
    pub(crate) fn is_over(&self, life: Duration) -> bool {
        let life = u64::try_from(life.as_millis()).unwrap_or(u64::MAX);
        now_ms().saturating_sub(self.created_ms) > life.min(self.life_ms)
    }

    /// The server that ran it has ended. Whether that changes anything.
    pub(crate) fn lose(&mut self) -> bool {
        let is_lost = !self.has_ended();
        if is_lost {
            self.standing = Standing::Ended(Ended::Lost);
            self.touch();
        }
        is_lost
    }

    pub(crate) fn can_resume(&self) -> bool {
        self.standing == Standing::Ended(Ended::Lost) && self.kind.again.is_some()
    }

    /// Why a lost one has no result.
    pub(crate) fn loss(&self) -> String {
        let hint = if self.can_resume() {
            "rlm_status with `resume` asks again"
        } else {
            "its session ended with the server; call the tool again"
        };
        format!(
            "the server ended while the task ran ({} %, {}). hint: {hint}",
            self.percent, self.step
        )
    }

    /// Its standing as a tool tells it.
    pub(crate) fn status(&self) -> Status {
        match &self.standing {
            Standing::Working => Status::Working,
            Standing::InputRequired(_) => Status::InputRequired,
            Standing::Ended(Ended::Completed(_)) => Status::Completed,
            Standing::Ended(Ended::Failed(_)) => Status::Failed,
            Standing::Ended(Ended::Cancelled) => Status::Cancelled,
            Standing::Ended(Ended::Lost) => Status::Lost,
        }
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}
