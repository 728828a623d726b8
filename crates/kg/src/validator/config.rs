//! How strictly commands are validated. Names and defaults are those of `RlmConfig`
//! (RLM specification, section 4), so that this can be flattened into it. `kg_validation_enabled`
//! is not here: who does not validate has no validator.

use serde::{Deserialize, Serialize};

/// What becomes of a command with unknown terms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KgStrictness {
    /// It runs, with a warning.
    Permissive,
    /// The model says it again, up to the retry limit. Then a person decides, or, without
    /// escalation, it runs with a warning.
    #[default]
    Normal,
    /// It does not run, from the first attempt on. Beyond the retry limit a person decides, or,
    /// without escalation, it goes on not running.
    Strict,
}

/// How commands are validated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KgConfig {
    /// How often a model may say a command again. The first attempt is no retry.
    pub kg_retry_limit: u32,
    /// Whether a person is asked when the retries are used up.
    pub kg_escalation_enabled: bool,
    /// What becomes of a command with unknown terms.
    pub kg_strictness: KgStrictness,
}

impl Default for KgConfig {
    fn default() -> Self {
        Self {
            kg_retry_limit: 3,
            kg_escalation_enabled: true,
            kg_strictness: KgStrictness::Normal,
        }
    }
}
