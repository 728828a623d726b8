//! Who asks models: a node's loop, the code that runs in its session, or a caller's code that belongs to no
//! question.

use super::Run;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use ukernel_budget::Ledger;
use ukernel_sandbox::Environment;
use ukernel_sandbox::environment::SessionToken;

/// What everybody who asks models carries.
#[derive(Clone)]
pub(crate) struct Asker {
    /// Names it in the trajectory.
    pub(crate) id: u32,
    /// How many questions it is nested in.
    pub(crate) depth: u32,
    pub(crate) run: Arc<Run>,
    /// What it may use.
    pub(crate) ledger: Ledger,
    /// Where its code runs.
    pub(crate) session: Arc<dyn Environment>,
    /// What the calls of its code have to show.
    pub(crate) token: SessionToken,
    /// Ends whatever it has asked for.
    pub(crate) cancel: CancellationToken,
}
