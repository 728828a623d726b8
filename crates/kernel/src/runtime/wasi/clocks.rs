//! `wasi:clocks`: the kernel's two clocks.

use super::Wasi;
use super::io::Pollable;
use crate::clock;
use crate::runtime::state::Context;
use wasmtime::component::{ComponentType, Lift, Lower};

/// The time-stamp counter ticks about once a nanosecond.
const RESOLUTION_NS: u64 = 1;

const NS_PER_S: u64 = 1_000_000_000;

/// `wasi:clocks/wall-clock.datetime`.
#[derive(Clone, Copy, ComponentType, Lift, Lower)]
#[component(record)]
pub(super) struct Datetime {
    seconds: u64,
    nanoseconds: u32,
}

impl Datetime {
    pub(super) fn from_ns(ns: u64) -> Self {
        Self {
            seconds: ns / NS_PER_S,
            nanoseconds: (ns % NS_PER_S) as u32,
        }
    }

    pub(super) fn to_ns(self) -> u64 {
        self.seconds
            .saturating_mul(NS_PER_S)
            .saturating_add(self.nanoseconds.into())
    }
}

pub(super) fn link(wasi: &mut Wasi<'_>) -> wasmtime::Result<()> {
    let mut monotonic = wasi.interface("clocks/monotonic-clock")?;
    monotonic.func_wrap("now", |_: Context<'_>, ()| Ok((clock::monotonic_ns(),)))?;
    monotonic.func_wrap("resolution", |_: Context<'_>, ()| Ok((RESOLUTION_NS,)))?;
    monotonic.func_wrap(
        "subscribe-instant",
        |mut context: Context<'_>, (at,): (u64,)| {
            Ok((context.data_mut().table.push(Pollable::Deadline(at))?,))
        },
    )?;
    monotonic.func_wrap(
        "subscribe-duration",
        |mut context: Context<'_>, (wait,): (u64,)| {
            let at = clock::monotonic_ns().saturating_add(wait);
            Ok((context.data_mut().table.push(Pollable::Deadline(at))?,))
        },
    )?;

    let mut wall = wasi.interface("clocks/wall-clock")?;
    wall.func_wrap("now", |_: Context<'_>, ()| {
        Ok((Datetime::from_ns(clock::wall_ns()),))
    })?;
    wall.func_wrap("resolution", |_: Context<'_>, ()| {
        Ok((Datetime::from_ns(RESOLUTION_NS),))
    })
}
