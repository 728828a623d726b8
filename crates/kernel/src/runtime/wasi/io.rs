//! `wasi:io/poll` and `wasi:io/error`.

use super::Wasi;
use crate::execution::{self, Running};
use crate::runtime::interrupt;
use crate::runtime::state::{Context, forget};
use crate::{clock, task};
use alloc::string::String;
use alloc::vec::Vec;
use wasmtime::component::{Resource, ResourceType};

/// Something a program can wait for. One host type for the whole shim.
#[derive(Clone, Copy)]
pub(super) enum Pollable {
    /// Files and output never make anybody wait here.
    Ready,
    /// A moment of the monotonic clock, nanoseconds.
    Deadline(u64),
    /// Standard input: bytes, or its end.
    Input,
}

impl Pollable {
    fn is_ready(self, running: &Running) -> bool {
        match self {
            Self::Ready => true,
            Self::Deadline(at) => clock::monotonic_ns() >= at,
            Self::Input => running.get().input.is_ready(),
        }
    }
}

/// `wasi:io/error.error`: what went wrong on a stream.
pub(super) struct IoError(pub(super) String);

/// Waits until one of `pollables` is ready, or the execution is interrupted. A call of WASI
/// has no word for that: the runtime sees its sleep end early, and finds a signal tripped.
fn wait(running: &Running, pollables: &[Pollable]) {
    if pollables.iter().any(|one| matches!(one, Pollable::Input)) {
        execution::want_input(running);
    }
    let deadline = pollables
        .iter()
        .filter_map(|pollable| match pollable {
            Pollable::Deadline(at) => Some(*at),
            Pollable::Ready | Pollable::Input => None,
        })
        .min();
    task::wait_until(deadline, || {
        running.get().is_interrupted()
            || pollables.iter().any(|pollable| pollable.is_ready(running))
    });
    if running.get().is_interrupted() {
        interrupt::trip();
    }
}

pub(super) fn link(wasi: &mut Wasi<'_>) -> wasmtime::Result<()> {
    let mut poll = wasi.interface("io/poll")?;
    poll.resource(
        "pollable",
        ResourceType::host::<Pollable>(),
        |mut context, handle| forget::<Pollable>(&mut context, handle).map(|_| ()),
    )?;
    poll.func_wrap(
        "[method]pollable.ready",
        |context: Context<'_>, (pollable,): (Resource<Pollable>,)| {
            let state = context.data();
            Ok((state.table.get(&pollable)?.is_ready(&state.execution),))
        },
    )?;
    poll.func_wrap(
        "[method]pollable.block",
        |context: Context<'_>, (pollable,): (Resource<Pollable>,)| {
            let state = context.data();
            wait(&state.execution, &[*state.table.get(&pollable)?]);
            Ok(())
        },
    )?;
    poll.func_wrap(
        "poll",
        |context: Context<'_>, (handles,): (Vec<Resource<Pollable>>,)| {
            let pollables = handles
                .iter()
                .map(|handle| context.data().table.get(handle).copied())
                .collect::<Result<Vec<_>, _>>()?;
            let running = &context.data().execution;
            wait(running, &pollables);
            let interrupted = running.get().is_interrupted();
            let ready: Vec<u32> = (0u32..)
                .zip(&pollables)
                .filter(|(_, pollable)| interrupted || pollable.is_ready(running))
                .map(|(index, _)| index)
                .collect();
            Ok((ready,))
        },
    )?;

    let mut error = wasi.interface("io/error")?;
    error.resource(
        "error",
        ResourceType::host::<IoError>(),
        |mut context, handle| forget::<IoError>(&mut context, handle).map(|_| ()),
    )?;
    error.func_wrap(
        "[method]error.to-debug-string",
        |context: Context<'_>, (error,): (Resource<IoError>,)| {
            Ok((context.data().table.get(&error)?.0.clone(),))
        },
    )
}
