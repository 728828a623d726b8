//! Sessions of this crate: a sandbox's session, with a budget and what asks through it.

use crate::RlmConfig;
use std::sync::{Arc, Mutex};
use ukernel_budget::Budget;
use ukernel_budget::Ledger;
use ukernel_kg::Attempts;
use ukernel_sandbox::Environment;
use ukernel_sandbox::environment::{SessionToken, new_token};

/// A session and its budget.
#[derive(Clone)]
pub(crate) struct Bound {
    pub(crate) session: Arc<dyn Environment>,
    pub(crate) ledger: Ledger,
    /// What its calls show. Gone when the session is.
    pub(crate) token: SessionToken,
    /// Whether its REPL has the functions that ask. Held while they are put there.
    pub(crate) has_begun: Arc<tokio::sync::Mutex<bool>>,
    /// One thing at a time: what runs has the whole budget.
    pub(crate) turn: Arc<tokio::sync::Mutex<()>>,
    /// What the validator remembers of it.
    pub(crate) attempts: Arc<Mutex<Attempts>>,
}

impl Bound {
    pub(crate) fn new(session: Arc<dyn Environment>, config: &RlmConfig) -> Self {
        Self {
            session,
            ledger: Ledger::new(&budget(config)),
            token: new_token(),
            has_begun: Arc::default(),
            turn: Arc::default(),
            attempts: Arc::default(),
        }
    }
}

/// The budget of a session.
pub(crate) fn budget(config: &RlmConfig) -> Budget {
    Budget {
        tokens: config.max_total_tokens,
        micro_dollars: config.max_total_micro_dollars,
        wall_clock_ms: config.max_wall_clock_ms,
        sub_calls: config.max_sub_calls,
        depth: config.max_recursion_depth,
        output_bytes: config.max_total_output_bytes,
    }
}
