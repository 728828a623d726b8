//! `log` and `trace`: lines, spans and events, said on the channel.

use super::Interface;
use crate::channel;
use crate::clock;
use crate::local::Local;
use crate::runtime::state::Context;
use alloc::string::String;
use ukernel_abi::message::{GuestMessage, LogLevel, TraceRecord};
use wasmtime::component::{ComponentType, Lift, Lower};

/// Longest text said in one record, in bytes; more is cut off.
const MAX_TEXT_BYTES: usize = 64 << 10;

static NEXT_SPAN: Local<u64> = Local::new(1);

#[derive(Clone, Copy, ComponentType, Lift, Lower)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "made by the component")]
enum Level {
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warn")]
    Warn,
    #[component(name = "error")]
    Error,
}

fn bounded(mut text: String) -> String {
    let mut end = MAX_TEXT_BYTES.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

fn trace(record: TraceRecord) {
    channel::say(&GuestMessage::Trace {
        at_ns: clock::monotonic_ns(),
        record,
    });
}

pub(super) fn link_log(interface: &mut Interface<'_>) -> wasmtime::Result<()> {
    interface.func_wrap(
        "write",
        |_: Context<'_>, (level, message): (Level, String)| {
            let level = match level {
                Level::Debug => LogLevel::Debug,
                Level::Info => LogLevel::Info,
                Level::Warn => LogLevel::Warn,
                Level::Error => LogLevel::Error,
            };
            channel::say(&GuestMessage::Log {
                level,
                message: bounded(message),
            });
            Ok(())
        },
    )
}

pub(super) fn link_trace(interface: &mut Interface<'_>) -> wasmtime::Result<()> {
    interface.func_wrap(
        "span-begin",
        |_: Context<'_>, (name, parent): (String, Option<u64>)| {
            let span = {
                let mut next = NEXT_SPAN.get();
                *next += 1;
                *next - 1
            };
            trace(TraceRecord::SpanBegin {
                span,
                parent,
                name: bounded(name),
            });
            Ok((span,))
        },
    )?;
    interface.func_wrap("span-end", |_: Context<'_>, (span,): (u64,)| {
        trace(TraceRecord::SpanEnd { span });
        Ok(())
    })?;
    interface.func_wrap(
        "event",
        |_: Context<'_>, (span, name, detail): (Option<u64>, String, String)| {
            trace(TraceRecord::Event {
                span,
                name: bounded(name),
                detail: bounded(detail),
            });
            Ok(())
        },
    )
}
