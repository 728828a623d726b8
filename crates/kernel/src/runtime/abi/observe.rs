//! `log` and `trace`: lines, spans and events, said on the channel.

use super::Interface;
use crate::execution;
use crate::local::Local;
use crate::runtime::state::Context;
use alloc::string::String;
use ukernel_abi::message::{LogLevel, TraceRecord};
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

pub(super) fn link_log(interface: &mut Interface<'_>) -> wasmtime::Result<()> {
    interface.func_wrap(
        "write",
        |context: Context<'_>, (level, message): (Level, String)| {
            let level = match level {
                Level::Debug => LogLevel::Debug,
                Level::Info => LogLevel::Info,
                Level::Warn => LogLevel::Warn,
                Level::Error => LogLevel::Error,
            };
            execution::log(&context.data().execution, level, bounded(message));
            Ok(())
        },
    )
}

pub(super) fn link_trace(interface: &mut Interface<'_>) -> wasmtime::Result<()> {
    interface.func_wrap(
        "span-begin",
        |context: Context<'_>, (name, parent): (String, Option<u64>)| {
            let span = {
                let mut next = NEXT_SPAN.get();
                *next += 1;
                *next - 1
            };
            let record = TraceRecord::SpanBegin {
                span,
                parent,
                name: bounded(name),
            };
            execution::trace(&context.data().execution, record);
            Ok((span,))
        },
    )?;
    interface.func_wrap("span-end", |context: Context<'_>, (span,): (u64,)| {
        execution::trace(&context.data().execution, TraceRecord::SpanEnd { span });
        Ok(())
    })?;
    interface.func_wrap(
        "event",
        |context: Context<'_>, (span, name, detail): (Option<u64>, String, String)| {
            let record = TraceRecord::Event {
                span,
                name: bounded(name),
                detail: bounded(detail),
            };
            execution::trace(&context.data().execution, record);
            Ok(())
        },
    )
}
