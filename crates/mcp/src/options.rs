//! What a server is given.

use crate::upstream::Upstream;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use terraphim_rlm::{Result, TerraphimRlm};

/// Opens the runtime. Called when it is first needed, and again if it failed: the first time kernel
/// and images are built, which takes minutes, and a client waits seconds for `initialize`.
pub type Open =
    Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<TerraphimRlm>> + Send>> + Send + Sync>;

/// What a server may use, and where it keeps things.
#[derive(Clone)]
pub struct Options {
    /// Folder of the tasks.
    pub folder: PathBuf,
    /// MCP servers whose tools code may call.
    pub upstream: Upstream,
    /// Whether the configuration names a model. If not, an older client's own is asked where it
    /// offers one.
    pub has_model: bool,
    /// How long a task and its result are kept, from its beginning.
    pub task_life: Duration,
    /// Most sessions of one caller.
    pub max_sessions: usize,
    /// Most tasks of one caller that run at once.
    pub max_running: usize,
    /// How long a client is made to wait for a result before it gets a task id, if it does not say.
    pub patience: Duration,
}

impl Options {
    /// The defaults, with tasks in `folder`.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            upstream: Upstream::default(),
            has_model: true,
            task_life: Duration::from_secs(24 * 3600),
            max_sessions: 32,
            max_running: 32,
            // Clients give up after 60 s, as a rule.
            patience: Duration::from_secs(30),
        }
    }
}
