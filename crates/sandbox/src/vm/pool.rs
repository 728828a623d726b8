//! Ready VMs, and who waits for them.
//!
//! ```text
//!   allocate ── a ready one? ── yes ──> handed out, the filler is woken
//!                   │ no: pool_exhausted
//!                   ├── fewer than max_overflow being started? ──> started here, beside the pool
//!                   └── wait for either, at most allocation_timeout
//! ```
//! VMs are never used twice: what a session leaves behind is not the next one's to see.

use super::{PoolMetrics, Vm};
use crate::{Result, SandboxConfig, SandboxError};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use ukernel_machine::MachineError;

/// How long the filler rests after a VM could not be started.
const START_FAILED_REST: Duration = Duration::from_millis(500);

/// How often the pool considers shrinking.
const IDLE_CHECK: Duration = Duration::from_secs(1);

/// How long nobody must have taken a VM before some are started that are not urgent: whoever
/// took one uses the processor now.
const QUIET: Duration = Duration::from_millis(20);

/// Starts one VM.
pub(super) type Start = Box<dyn Fn() -> Result<Vm, MachineError> + Send + Sync>;

/// Starts one blank process, unless there are enough. Whether it did.
pub(super) type Prepare = Box<dyn Fn() -> bool + Send + Sync>;

struct State {
    ready: VecDeque<Vm>,
    /// VMs being started beside the pool.
    overflow_starting: u32,
    last_allocation: Instant,
    /// Of a ready VM or a blank process.
    last_use: Instant,
    is_stopping: bool,
    metrics: PoolMetrics,
}

pub(super) struct Pool {
    start: Start,
    prepare: Prepare,
    config: SandboxConfig,
    state: Mutex<State>,
    changed: Condvar,
}

impl Pool {
    pub(super) fn new(start: Start, prepare: Prepare, config: SandboxConfig) -> Arc<Self> {
        let metrics = PoolMetrics {
            target: config.pool_target_size,
            ..PoolMetrics::default()
        };
        Arc::new(Self {
            start,
            prepare,
            config,
            state: Mutex::new(State {
                ready: VecDeque::new(),
                overflow_starting: 0,
                last_allocation: Instant::now(),
                last_use: Instant::now(),
                is_stopping: false,
                metrics,
            }),
            changed: Condvar::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A ready VM, or one started now.
    pub(super) fn allocate(&self) -> Result<Vm> {
        let began = Instant::now();
        let timeout = Duration::from_millis(self.config.allocation_timeout_ms);
        let mut state = self.lock();
        state.last_allocation = began;
        state.last_use = began;
        let mut is_first_look = true;
        loop {
            if state.is_stopping {
                return Err(SandboxError::Stopping);
            }
            while let Some(vm) = state.ready.pop_front() {
                self.changed.notify_all();
                if !vm.has_ended() {
                    state.metrics.allocations += 1;
                    return Ok(vm);
                }
                state.metrics.crashed_ready += 1;
            }
            if std::mem::take(&mut is_first_look) {
                state.metrics.pool_exhausted += 1;
            }
            if state.overflow_starting < self.config.max_overflow_vms {
                state.overflow_starting += 1;
                drop(state);
                return self.start_overflow();
            }
            let waited = began.elapsed();
            if waited >= timeout {
                state.metrics.allocation_timeouts += 1;
                return Err(SandboxError::AllocationTimeout {
                    waited,
                    waiting: state.metrics.waiting,
                });
            }
            state.metrics.waiting += 1;
            self.scale_up(&mut state);
            state = self
                .changed
                .wait_timeout(state, timeout - waited)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            state.metrics.waiting -= 1;
        }
    }

    fn start_overflow(&self) -> Result<Vm> {
        let started = (self.start)();
        let mut state = self.lock();
        state.overflow_starting -= 1;
        self.changed.notify_all();
        match started {
            Ok(mut vm) => {
                vm.is_overflow = true;
                state.metrics.overflow_started += 1;
                state.metrics.overflow_active += 1;
                state.metrics.allocations += 1;
                Ok(vm)
            }
            Err(error) => {
                state.metrics.start_failures += 1;
                Err(error.into())
            }
        }
    }

    /// An overflow VM is gone.
    pub(super) fn overflow_ended(&self) {
        self.lock().metrics.overflow_active -= 1;
    }

    /// Enough sessions wait for the pool to be too small.
    fn scale_up(&self, state: &mut State) {
        let metrics = &mut state.metrics;
        if metrics.waiting >= self.config.scale_up_queue_depth
            && metrics.target < self.config.pool_max_size
        {
            metrics.target = (metrics.target * 2).clamp(1, self.config.pool_max_size);
            metrics.scaled_up += 1;
            self.changed.notify_all();
        }
    }

    /// A blank process was used.
    pub(super) fn note_use(&self) {
        self.lock().last_use = Instant::now();
        self.changed.notify_all();
    }

    /// Keeps as many VMs ready as are wanted, and blank processes, until the pool stops.
    pub(super) fn fill(&self) {
        let mut state = self.lock();
        while !state.is_stopping {
            let is_urgent = state.ready.len() < self.config.pool_min_size.max(1);
            let used = state.last_use.elapsed();
            if !is_urgent && used < QUIET {
                state = self.rest(state, QUIET - used);
            } else if state.ready.len() < state.metrics.target {
                drop(state);
                let started = (self.start)();
                state = self.lock();
                match started {
                    Ok(vm) => {
                        state.ready.push_back(vm);
                        self.changed.notify_all();
                    }
                    Err(_) => {
                        // Whoever needs a VM meets the same error and hears of it.
                        state.metrics.start_failures += 1;
                        state = self.rest(state, START_FAILED_REST);
                    }
                }
            } else {
                drop(state);
                let has_prepared = (self.prepare)();
                state = self.lock();
                if has_prepared {
                    continue;
                }
                state = self.rest(state, IDLE_CHECK);
                let surplus = self.scale_down(&mut state);
                // Ending it takes a moment that nobody should wait for.
                drop(state);
                drop(surplus);
                state = self.lock();
            }
        }
    }

    fn rest<'a>(&self, state: MutexGuard<'a, State>, time: Duration) -> MutexGuard<'a, State> {
        self.changed
            .wait_timeout(state, time)
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }

    /// Gives up one ready VM if nobody has asked for one for long.
    fn scale_down(&self, state: &mut State) -> Option<Vm> {
        let idle = Duration::from_secs(self.config.scale_down_idle_secs);
        if state.last_allocation.elapsed() < idle
            || state.metrics.target <= self.config.pool_min_size
        {
            return None;
        }
        state.last_allocation = Instant::now();
        state.metrics.target -= 1;
        state.metrics.scaled_down += 1;
        (state.ready.len() > state.metrics.target)
            .then(|| state.ready.pop_front())
            .flatten()
    }

    /// Gives up the ready VMs and lets nobody wait.
    pub(super) fn stop(&self) -> VecDeque<Vm> {
        let mut state = self.lock();
        state.is_stopping = true;
        self.changed.notify_all();
        std::mem::take(&mut state.ready)
    }

    pub(super) fn ready_processes(&self) -> Vec<u32> {
        self.lock().ready.iter().map(Vm::process_id).collect()
    }

    pub(super) fn metrics(&self) -> PoolMetrics {
        let state = self.lock();
        PoolMetrics {
            ready: state.ready.len(),
            ..state.metrics.clone()
        }
    }
}
