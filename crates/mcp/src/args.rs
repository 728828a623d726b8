//! What the tools take. Doc comments of fields are what models read in the schemas.

use crate::replies::Failure;
use rmcp::model::JsonObject;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::time::Duration;

/// Longest time limit of one execution, in seconds.
const MAX_TIMEOUT_S: u32 = 86_400;

/// Longest wait for a result, in seconds.
const MAX_WAIT_S: u32 = 600;

/// For how long something runs, and is waited for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Times {
    timeout_s: Option<u32>,
    wait_s: Option<u32>,
}

/// Arguments of a tool.
pub(crate) trait Args: DeserializeOwned {
    /// For how long it runs, and is waited for.
    fn times(&self) -> Times {
        Times::default()
    }
}

impl Args for ContextArgs {}
impl Args for SnapshotArgs {}

/// A tool's arguments, or what is wrong with them.
pub(crate) fn read<T: Args>(given: &JsonObject) -> Result<T, Failure> {
    let read: Result<T, _> = serde_json::from_value(Value::Object(given.clone()));
    let args = read.map_err(|error| Failure::arguments(error.to_string()))?;
    match args.times().problem() {
        Some(problem) => Err(Failure::arguments(problem)),
        None => Ok(args),
    }
}

impl Times {
    /// What is wrong, if anything is.
    fn problem(&self) -> Option<String> {
        if self.timeout_s.is_some_and(|s| s == 0 || s > MAX_TIMEOUT_S) {
            return Some(format!("timeout_s is not between 1 and {MAX_TIMEOUT_S}"));
        }
        if self.wait_s.is_some_and(|s| s > MAX_WAIT_S) {
            return Some(format!("wait_s is not between 0 and {MAX_WAIT_S}"));
        }
        None
    }

    pub(crate) fn timeout(&self) -> Option<Duration> {
        self.timeout_s.map(|s| Duration::from_secs(u64::from(s)))
    }

    pub(crate) fn wait(&self) -> Option<Duration> {
        self.wait_s.map(|s| Duration::from_secs(u64::from(s)))
    }
}

/// Arguments of `rlm_code`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CodeArgs {
    /// Python source, as at a prompt: the value of a last expression comes back. At most 16 MiB.
    pub(crate) code: String,
    /// Handle of the session to go on in, from an earlier reply. Without it a new session is made.
    #[serde(default)]
    pub(crate) session: Option<String>,
    /// Time limit of the execution, in seconds. Past it the program is ended and the session stands as it was before.
    #[serde(default)]
    #[schemars(range(min = 1, max = MAX_TIMEOUT_S))]
    timeout_s: Option<u32>,
    /// How long to wait for the result, in seconds. What takes longer goes on as a task: the reply has its id, and rlm_status tells how it stands.
    #[serde(default)]
    #[schemars(range(min = 0, max = MAX_WAIT_S))]
    wait_s: Option<u32>,
}

impl Args for CodeArgs {
    fn times(&self) -> Times {
        Times {
            timeout_s: self.timeout_s,
            wait_s: self.wait_s,
        }
    }
}

/// Arguments of `rlm_bash`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BashArgs {
    /// The command line. It runs over the same files as the session's Python.
    pub(crate) command: String,
    /// Handle of the session to go on in, from an earlier reply. Without it a new session is made.
    #[serde(default)]
    pub(crate) session: Option<String>,
    /// Time limit of the execution, in seconds. Past it the command is ended and the session stands as it was before.
    #[serde(default)]
    #[schemars(range(min = 1, max = MAX_TIMEOUT_S))]
    timeout_s: Option<u32>,
    /// How long to wait for the result, in seconds. What takes longer goes on as a task: the reply has its id, and rlm_status tells how it stands.
    #[serde(default)]
    #[schemars(range(min = 0, max = MAX_WAIT_S))]
    wait_s: Option<u32>,
}

impl Args for BashArgs {
    fn times(&self) -> Times {
        Times {
            timeout_s: self.timeout_s,
            wait_s: self.wait_s,
        }
    }
}

/// Arguments of `rlm_query`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct QueryArgs {
    /// The question.
    #[schemars(length(min = 1))]
    pub(crate) question: String,
    /// What the question is about: a text of any length, which the model looks at by code. Without it the session's variable `context` is meant.
    #[serde(default)]
    pub(crate) context: Option<String>,
    /// Handle of the session whose variables and files the answering code finds. Without it a fresh session is used and ended.
    #[serde(default)]
    pub(crate) session: Option<String>,
    /// JSON Schema that the answer has to fit. It then comes back as `value`.
    #[serde(default)]
    #[schemars(with = "Option<serde_json::Map<String, Value>>")]
    pub(crate) schema: Option<Value>,
    /// How long to wait for the answer, in seconds. What takes longer goes on as a task: the reply has its id, and rlm_status tells how it stands.
    #[serde(default)]
    #[schemars(range(min = 0, max = MAX_WAIT_S))]
    wait_s: Option<u32>,
}

impl Args for QueryArgs {
    fn times(&self) -> Times {
        Times {
            timeout_s: None,
            wait_s: self.wait_s,
        }
    }
}

/// What is done with a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ContextAction {
    /// Gives the variable's text.
    Get,
    /// Sets the variable to a text.
    Set,
    /// Lists the variables with their types and sizes.
    List,
}

/// Arguments of `rlm_context`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ContextArgs {
    /// What to do: `get` a variable, `set` one, or `list` them all.
    pub(crate) action: ContextAction,
    /// Handle of the session. `set` without it makes a new session.
    #[serde(default)]
    pub(crate) session: Option<String>,
    /// Name of the variable, for `get` and `set`. Questions are about the one called `context`.
    #[serde(default)]
    pub(crate) name: Option<String>,
    /// The text, for `set`.
    #[serde(default)]
    pub(crate) value: Option<String>,
    /// For `get`: from which character on.
    #[serde(default)]
    pub(crate) offset: Option<u64>,
    /// For `get`: how many characters at most, 65536 if absent.
    #[serde(default)]
    #[schemars(range(min = 1, max = 1_048_576))]
    pub(crate) length: Option<u64>,
}

/// What is done with snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SnapshotAction {
    /// Keeps the state of now under a name.
    Create,
    /// Lists the snapshots.
    List,
    /// Goes back to one.
    Restore,
}

/// Arguments of `rlm_snapshot`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SnapshotArgs {
    /// What to do: `create`, `list` or `restore`.
    pub(crate) action: SnapshotAction,
    /// Handle of the session.
    #[serde(default)]
    pub(crate) session: Option<String>,
    /// Name of the snapshot, for `create` and `restore`: letters, digits, `-`, `_` and `.`.
    #[serde(default)]
    pub(crate) name: Option<String>,
}

/// Arguments of `rlm_status`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StatusArgs {
    /// Id of a task: tells how it stands, with the result if it has one.
    #[serde(default)]
    pub(crate) task: Option<String>,
    /// With `task`: cancels it.
    #[serde(default)]
    pub(crate) cancel: bool,
    /// With `task`: asks a query again that was lost when the server ended.
    #[serde(default)]
    pub(crate) resume: bool,
    /// With `task`: how long to wait for its end, in seconds.
    #[serde(default)]
    #[schemars(range(min = 0, max = MAX_WAIT_S))]
    pub(crate) wait_s: Option<u32>,
    /// Handle of a session: tells how it stands.
    #[serde(default)]
    pub(crate) session: Option<String>,
    /// With `session`: ends it, with everything in it.
    #[serde(default)]
    pub(crate) end: bool,
}

impl Args for StatusArgs {
    fn times(&self) -> Times {
        Times {
            timeout_s: None,
            wait_s: self.wait_s,
        }
    }
}
