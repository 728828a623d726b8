//! The end of VMs, away from whoever is done with them: killing one takes milliseconds.
//! Overflow VMs have a queue of their own, served when the other is empty.

use super::Vm;
use super::pool::Pool;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

#[derive(Default)]
struct Queues {
    normal: VecDeque<Vm>,
    overflow: VecDeque<Vm>,
    /// VMs taken from the queues that are being ended.
    at_work: usize,
    is_stopping: bool,
}

#[derive(Default)]
struct Shared {
    queues: Mutex<Queues>,
    changed: Condvar,
}

/// Ends VMs on a thread of its own.
pub(super) struct Reaper {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Reaper {
    pub(super) fn start(pool: Arc<Pool>) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let queues = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("ukernel-reaper".to_owned())
            .spawn(move || reap(&queues, &pool))?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Hands over a VM nobody needs any more.
    pub(super) fn end(&self, vm: Vm) {
        let mut queues = lock(&self.shared);
        if vm.is_overflow {
            queues.overflow.push_back(vm);
        } else {
            queues.normal.push_back(vm);
        }
        self.shared.changed.notify_all();
    }

    /// VMs that still wait for their end.
    pub(super) fn waiting(&self) -> usize {
        let queues = lock(&self.shared);
        queues.normal.len() + queues.overflow.len() + queues.at_work
    }

    /// Waits until every VM handed over is gone.
    pub(super) fn stop(&mut self) {
        lock(&self.shared).is_stopping = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported; there is nothing left to end with.
            let _ = thread.join();
        }
    }
}

fn lock(shared: &Shared) -> std::sync::MutexGuard<'_, Queues> {
    shared.queues.lock().unwrap_or_else(PoisonError::into_inner)
}

fn reap(shared: &Shared, pool: &Pool) {
    let mut queues = lock(shared);
    loop {
        let Queues {
            normal, overflow, ..
        } = &mut *queues;
        if let Some(vm) = normal.pop_front().or_else(|| overflow.pop_front()) {
            queues.at_work = 1;
            drop(queues);
            let was_overflow = vm.is_overflow;
            drop(vm);
            if was_overflow {
                pool.overflow_ended();
            }
            queues = lock(shared);
            queues.at_work = 0;
        } else if queues.is_stopping {
            return;
        } else {
            queues = shared
                .changed
                .wait(queues)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}
