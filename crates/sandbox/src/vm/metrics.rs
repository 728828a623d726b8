//! What the pool has done.

use serde::{Deserialize, Serialize};

/// Counters since the start, and sizes of now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolMetrics {
    /// VMs handed out.
    pub allocations: u64,
    /// Allocations that found no ready VM.
    pub pool_exhausted: u64,
    /// Allocations that gave up waiting.
    pub allocation_timeouts: u64,
    /// VMs started beside the pool.
    pub overflow_started: u64,
    /// VMs started beside the pool that are alive.
    pub overflow_active: u32,
    /// Ready VMs that were found dead.
    pub crashed_ready: u64,
    /// VMs that could not be started.
    pub start_failures: u64,
    /// Times the pool grew.
    pub scaled_up: u64,
    /// Times the pool shrank.
    pub scaled_down: u64,
    /// Ready VMs.
    pub ready: usize,
    /// Ready VMs wanted.
    pub target: usize,
    /// Processes started ahead, which forks and rollbacks become.
    pub blank: usize,
    /// Sessions waiting for one.
    pub waiting: u32,
    /// VMs still to be cleaned up.
    pub cleanup_queue: usize,
}
