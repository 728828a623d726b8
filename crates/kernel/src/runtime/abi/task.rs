//! `task`: yield, sleep, spawn, join, interrupts.

use super::{AbiError, Interface};
use crate::execution::{self, Running};
use crate::local::Local;
use crate::runtime::engine::Loaded;
use crate::runtime::instance::{Instance, RunError};
use crate::runtime::state::Context;
use crate::{clock, files, task};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use ukernel_abi::message::{Exec, LogLevel, Outcome};

/// Most tasks a workload may ever have started in one VM.
const MAX_SPAWNED: usize = 8;

/// Exit code of a task whose instance trapped.
const TRAPPED: i32 = 134;

/// Exit code of a task that an exception or an interrupt ended.
const FAILED: i32 = 1;

struct Spawned {
    loaded: Option<Arc<Loaded>>,
    exits: Vec<Option<i32>>,
    /// Most tasks alive at once, the first one included.
    max_alive: u32,
}

static SPAWNED: Local<Spawned> = Local::new(Spawned {
    loaded: None,
    exits: Vec::new(),
    max_alive: u32::MAX,
});

impl Spawned {
    fn has_room(&self) -> bool {
        let alive = 1 + self.exits.iter().filter(|exit| exit.is_none()).count();
        self.exits.len() < MAX_SPAWNED && (alive as u64) < u64::from(self.max_alive)
    }
}

/// Lets `spawn` make instances of this component.
pub(crate) fn configure(loaded: Arc<Loaded>) {
    SPAWNED.get().loaded = Some(loaded);
}

/// Sets how many tasks may be alive at once. Those that are stay.
pub(in crate::runtime) fn limit(max_alive: u32) {
    SPAWNED.get().max_alive = max_alive;
}

pub(super) fn link(interface: &mut Interface<'_>) -> wasmtime::Result<()> {
    interface.func_wrap("yield", |_: Context<'_>, ()| {
        task::yield_now();
        Ok(())
    })?;
    interface.func_wrap("sleep", |context: Context<'_>, (duration,): (u64,)| {
        let deadline = clock::monotonic_ns().saturating_add(duration);
        let running = &context.data().execution;
        let interrupted = task::wait_until(Some(deadline), || running.get().is_interrupted());
        Ok((if interrupted {
            Err(AbiError::Interrupted)
        } else {
            Ok(())
        },))
    })?;
    interface.func_wrap(
        "spawn",
        |context: Context<'_>, (path, args): (String, Vec<String>)| {
            Ok((spawn(context.data().execution.clone(), path, args),))
        },
    )?;
    interface.func_wrap("join", |context: Context<'_>, (id,): (u32,)| {
        Ok((join(&context.data().execution, id),))
    })?;
    interface.func_wrap(
        "take-interrupt",
        |context: Context<'_>, (is_reached,): (bool,)| {
            if is_reached {
                // A program that computes has not let the host's message in yet.
                task::yield_now();
            }
            let running = context.data().execution.clone();
            Ok((execution::take_interrupt(&running, is_reached),))
        },
    )
}

fn spawn(running: Running, path: String, args: Vec<String>) -> Result<u32, AbiError> {
    let source = {
        let tree = files::TREE.get();
        let node = tree.find(files::Tree::ROOT, &path, true)?;
        tree.read(node, 0, usize::MAX)?
    };
    let (loaded, id) = {
        let mut spawned = SPAWNED.get();
        let loaded = spawned.loaded.clone().ok_or(AbiError::Unsupported)?;
        if !spawned.has_room() {
            return Err(AbiError::Limit);
        }
        spawned.exits.push(None);
        (loaded, spawned.exits.len() - 1)
    };
    let body = move || {
        let code = run(&loaded, &running, path, source, args);
        SPAWNED.get().exits[id] = Some(code);
        task::wake_all();
    };
    match task::spawn(Box::new(body)) {
        Ok(()) => Ok(id as u32),
        Err(_) => {
            // Its number is spent: it ended before it began.
            SPAWNED.get().exits[id] = Some(FAILED);
            Err(AbiError::Limit)
        }
    }
}

fn run(
    loaded: &Loaded,
    running: &Running,
    path: String,
    source: Vec<u8>,
    args: Vec<String>,
) -> i32 {
    let exec = Exec {
        args,
        ..Exec::program(path, source)
    };
    let ran = Instance::new(loaded)
        .map_err(RunError::from)
        .and_then(|mut instance| {
            instance.resume()?;
            instance.exec(running, exec)
        });
    match ran {
        Ok(Outcome::Exited { code, .. } | Outcome::RuntimeExited { code })
        | Err(RunError::Exited(code)) => code,
        Ok(Outcome::Exception { .. } | Outcome::Interrupted | Outcome::Refused(_)) => FAILED,
        Ok(Outcome::Trapped { reason }) | Err(RunError::Trapped(reason)) => {
            execution::log(
                running,
                LogLevel::Error,
                format!("a task trapped: {reason}"),
            );
            TRAPPED
        }
    }
}

fn join(running: &Running, id: u32) -> Result<i32, AbiError> {
    let mut exit = None;
    let mut known = true;
    let ended = || match SPAWNED.get().exits.get(id as usize) {
        Some(code) => {
            exit = *code;
            code.is_some() || running.get().is_interrupted()
        }
        None => {
            known = false;
            true
        }
    };
    task::wait_until(None, ended);
    if !known {
        return Err(AbiError::NotFound);
    }
    exit.ok_or(AbiError::Interrupted)
}
