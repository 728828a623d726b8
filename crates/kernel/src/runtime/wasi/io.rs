//! `wasi:io/poll` and `wasi:io/error`.

use super::Wasi;
use crate::clock;
use crate::runtime::interrupt;
use crate::runtime::state::{Context, forget, is_interrupted};
use crate::task;
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
}

impl Pollable {
    fn is_ready(self) -> bool {
        match self {
            Self::Ready => true,
            Self::Deadline(at) => clock::monotonic_ns() >= at,
        }
    }
}

/// `wasi:io/error.error`: what went wrong on a stream.
pub(super) struct IoError(pub(super) String);

/// Waits until one of `pollables` is ready, or the execution is interrupted. A call of WASI
/// has no word for that: the runtime sees its sleep end early, and finds a signal tripped.
fn wait(pollables: &[Pollable]) {
    let deadline = pollables
        .iter()
        .filter_map(|pollable| match pollable {
            Pollable::Deadline(at) => Some(*at),
            Pollable::Ready => None,
        })
        .min();
    task::wait_until(deadline, || {
        is_interrupted() || pollables.iter().any(|pollable| pollable.is_ready())
    });
    if is_interrupted() {
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
            Ok((context.data().table.get(&pollable)?.is_ready(),))
        },
    )?;
    poll.func_wrap(
        "[method]pollable.block",
        |context: Context<'_>, (pollable,): (Resource<Pollable>,)| {
            wait(&[*context.data().table.get(&pollable)?]);
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
            wait(&pollables);
            let interrupted = is_interrupted();
            let ready: Vec<u32> = (0u32..)
                .zip(&pollables)
                .filter(|(_, pollable)| interrupted || pollable.is_ready())
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
