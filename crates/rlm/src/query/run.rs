//! A run: what all of its nodes share.

use super::{Calls, OpenBridges};
use crate::RlmConfig;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use ukernel_kg::KnowledgeGraphValidator;
use ukernel_llm::{GenericLlmClient, ModelName, Price};
use ukernel_sandbox::Environments;
use ukernel_trajectory::Trajectory;

/// Part of the time that is kept for a last answer, and its most.
const LAST_PART: u32 = 10;
const LAST_MOST: Duration = Duration::from_secs(30);

/// How long cancelled nodes may take to end.
const END_GRACE: Duration = Duration::from_millis(150);

/// What a run is made of.
pub(crate) struct RunParts {
    pub(crate) config: Arc<RlmConfig>,
    pub(crate) llm: Arc<dyn GenericLlmClient>,
    pub(crate) model: ModelName,
    pub(crate) sub_model: ModelName,
    pub(crate) environments: Arc<dyn Environments>,
    pub(crate) owner: u32,
    pub(crate) kg: Option<Arc<Mutex<KnowledgeGraphValidator>>>,
    pub(crate) trajectory: Trajectory,
    /// Where its bridges are entered.
    pub(crate) bridges: OpenBridges,
    /// What code may ask the host for.
    pub(crate) calls: Calls,
    pub(crate) max_wall_clock: Duration,
    /// Bytes of replies that are coming now.
    pub(crate) streamed: Arc<AtomicU64>,
    pub(crate) cancel: CancellationToken,
}

/// A run.
pub(crate) struct Run {
    parts: RunParts,
    began: Instant,
    /// Model calls that may begin.
    pub(crate) permits: Semaphore,
    next_node: AtomicU32,
    next_call: AtomicU32,
    output_bytes: AtomicU64,
    /// Nodes that have not ended.
    live: watch::Sender<u32>,
}

impl std::ops::Deref for Run {
    type Target = RunParts;

    fn deref(&self) -> &RunParts {
        &self.parts
    }
}

impl Run {
    pub(crate) fn new(parts: RunParts) -> Self {
        Self {
            began: Instant::now(),
            permits: Semaphore::new(parts.config.max_parallel_calls),
            next_node: AtomicU32::new(0),
            next_call: AtomicU32::new(1),
            output_bytes: AtomicU64::new(0),
            live: watch::Sender::new(0),
            parts,
        }
    }

    pub(crate) fn next_node(&self) -> u32 {
        self.next_node.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn next_call(&self) -> u32 {
        self.next_call.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn node_began(&self) {
        self.live.send_modify(|live| *live += 1);
    }

    pub(crate) fn node_ended(&self) {
        self.live.send_modify(|live| *live -= 1);
    }

    /// Waits until every node has ended, and written so: those that were cancelled take a moment.
    pub(crate) async fn all_ended(&self) {
        let mut live = self.live.subscribe();
        // A node that ends later than this is no failure; its end is missing from the trajectory.
        let _ = tokio::time::timeout(END_GRACE, live.wait_for(|live| *live == 0)).await;
    }

    /// When everything ends.
    pub(crate) fn deadline(&self) -> Instant {
        self.began + self.max_wall_clock
    }

    /// When a last answer is asked for.
    pub(crate) fn last_call(&self) -> Instant {
        self.deadline() - (self.max_wall_clock / LAST_PART).min(LAST_MOST)
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Counts output of commands; `false` when it is more than the run may have.
    pub(crate) fn count_output(&self, bytes: u64) -> bool {
        let before = self.output_bytes.fetch_add(bytes, Ordering::Relaxed);
        before.saturating_add(bytes) <= self.config.max_total_output_bytes
    }

    /// Whether commands may have more output.
    pub(crate) fn has_output_left(&self) -> bool {
        self.output_bytes.load(Ordering::Relaxed) < self.config.max_total_output_bytes
    }

    /// The configured price of a model.
    pub(crate) fn price(&self, model: &ModelName) -> Option<Price> {
        self.config.prices.get(&model.to_string()).copied()
    }
}
