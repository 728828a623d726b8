//! Cooperative tasks, each with a stack of its own.
//!
//! ```text
//!            yield_now                 wake_all (something happened)
//!   RUNNING ───────────> READY <──────────────────────────── WAITING
//!      │  ^                │                                    ^
//!      │  └── next in turn ┘                                    │
//!      └──────────────── pause(deadline) ───────────────────────┘
//! ```
//! A waiting task looks again whenever anything happened: there are few tasks and looking is
//! cheap, so there are no wait queues to get wrong. When no task is ready the machine idles
//! until a device has something or the nearest deadline has come.

mod stack;
mod switch;

use crate::clock;
use crate::dev::platform;
use crate::local::Local;
use crate::mem::window::Exhausted;
use alloc::boxed::Box;
use alloc::vec::Vec;
use switch::Context;
use ukernel_kernel_core::schedule::{self, State};

/// Most tasks alive at once.
const MAX_TASKS: usize = 16;

struct Task {
    context: Context,
    state: State,
    stack: Option<stack::Stack>,
    /// wasmtime's thread-local slots.
    tls: [usize; 2],
}

struct Scheduler {
    tasks: Vec<Task>,
    current: usize,
    free_stacks: Vec<stack::Stack>,
}

static SCHEDULER: Local<Scheduler> = Local::new(Scheduler {
    tasks: Vec::new(),
    current: 0,
    free_stacks: Vec::new(),
});

/// A task cannot be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SpawnError {
    TooMany,
    NoMemory,
}

/// Makes the code that runs now task 0. Once, before anything else here.
pub(crate) fn adopt() {
    SCHEDULER.get().tasks.push(Task {
        context: Context::empty(),
        state: State::Ready,
        stack: None,
        tls: [0; 2],
    });
}

/// Starts a task. It first runs when the current one waits or yields.
pub(crate) fn spawn(entry: Box<dyn FnOnce()>) -> Result<(), SpawnError> {
    let mut scheduler = SCHEDULER.get();
    let slot = scheduler
        .tasks
        .iter()
        .position(|task| task.state == State::Finished && task.stack.is_none());
    if slot.is_none() && scheduler.tasks.len() >= MAX_TASKS {
        return Err(SpawnError::TooMany);
    }
    let stack = match scheduler.free_stacks.pop() {
        Some(stack) => stack,
        None => stack::Stack::take().map_err(|error| match error {
            Exhausted::Windows => SpawnError::TooMany,
            Exhausted::Memory => SpawnError::NoMemory,
        })?,
    };
    let context = Context::starting(&stack, entry);
    let task = Task {
        context,
        state: State::Ready,
        stack: Some(stack),
        tls: [0; 2],
    };
    if let Some(slot) = slot {
        scheduler.tasks[slot] = task;
        return Ok(());
    }
    scheduler.tasks.push(task);
    Ok(())
}

/// Lets every other ready task run.
pub(crate) fn yield_now() {
    set_current(State::Ready);
    run_next();
}

/// Waits until something happened or the monotonic clock reached `deadline_ns`.
pub(crate) fn pause(deadline_ns: Option<u64>) {
    set_current(State::Waiting(deadline_ns));
    run_next();
}

/// Waits until `ready` says so. `false` when the deadline came first.
pub(crate) fn wait_until(deadline_ns: Option<u64>, mut ready: impl FnMut() -> bool) -> bool {
    loop {
        if ready() {
            return true;
        }
        if deadline_ns.is_some_and(|deadline| clock::monotonic_ns() >= deadline) {
            return false;
        }
        pause(deadline_ns);
    }
}

/// Something happened: every waiting task looks again.
pub(crate) fn wake_all() {
    for task in &mut SCHEDULER.get().tasks {
        if matches!(task.state, State::Waiting(_)) {
            task.state = State::Ready;
        }
    }
}

/// Ends the current task. Its stack is used again.
fn finish() -> ! {
    {
        let mut scheduler = SCHEDULER.get();
        let current = scheduler.current;
        scheduler.tasks[current].state = State::Finished;
        if let Some(stack) = scheduler.tasks[current].stack.take() {
            scheduler.free_stacks.push(stack);
        }
    }
    wake_all();
    run_next();
    unreachable!("a finished task is never scheduled")
}

/// wasmtime's thread-local `slot` of the current task.
pub(crate) fn tls(slot: usize) -> usize {
    let scheduler = SCHEDULER.get();
    scheduler.tasks[scheduler.current].tls[slot]
}

/// Sets wasmtime's thread-local `slot` of the current task.
pub(crate) fn set_tls(slot: usize, value: usize) {
    let mut scheduler = SCHEDULER.get();
    let current = scheduler.current;
    scheduler.tasks[current].tls[slot] = value;
}

fn set_current(state: State) {
    let mut scheduler = SCHEDULER.get();
    let current = scheduler.current;
    scheduler.tasks[current].state = state;
}

/// Runs the next ready task after the current one, idling as long as there is none.
fn run_next() {
    let next = loop {
        if let Some(next) = next_ready() {
            break next;
        }
        let deadline = nearest_deadline();
        platform::idle(deadline);
        wake_all();
    };
    let (from, to) = {
        let mut scheduler = SCHEDULER.get();
        let previous = scheduler.current;
        if previous == next {
            return;
        }
        scheduler.current = next;
        let from: *mut Context = &mut scheduler.tasks[previous].context;
        (from, scheduler.tasks[next].context)
    };
    switch::switch(from, to);
}

fn next_ready() -> Option<usize> {
    let scheduler = SCHEDULER.get();
    let states = scheduler.tasks.iter().map(|task| task.state);
    schedule::next_ready(states, scheduler.current)
}

fn nearest_deadline() -> Option<u64> {
    let scheduler = SCHEDULER.get();
    schedule::nearest_deadline(scheduler.tasks.iter().map(|task| task.state))
}
