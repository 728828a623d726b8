//! What an execution says to the host, and what it waits for.

use crate::files::TREE;
use crate::{channel, clock, task};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use ukernel_abi::message::{GuestMessage, LogLevel, Stream, TraceRecord};
use ukernel_abi::parts::cut;
pub(crate) use ukernel_kernel_core::execution::{CallError, Read, Running};

/// Largest piece of output in one message.
const OUTPUT_CHUNK_BYTES: usize = 32 << 10;

/// A task printed. Waits while the host has no room. What is printed after the execution's end is
/// dropped: nobody waits for it any more.
pub(crate) fn print(running: &Running, stream: Stream, bytes: &[u8]) {
    let sent = running.get().print(&mut TREE.get(), stream, bytes);
    let mut rest = &bytes[..sent];
    while !rest.is_empty() {
        task::wait_until(None, || running.get().has_room());
        let (id, chunk) = {
            let mut execution = running.get();
            if !execution.is_heard() {
                return;
            }
            let most = rest.len().min(OUTPUT_CHUNK_BYTES);
            // At most what was asked for, which is a length.
            let count = execution.take_room(most as u64) as usize;
            let (chunk, after) = rest.split_at(count);
            rest = after;
            (execution.id, chunk)
        };
        channel::say(&GuestMessage::Output {
            id,
            stream,
            bytes: chunk.to_vec(),
        });
    }
    task::yield_now();
}

/// A task logged. Waits while the host has no room.
pub(crate) fn log(running: &Running, level: LogLevel, message: String) {
    say_whole(running, |id| GuestMessage::Log { id, level, message });
}

/// A task traced. Waits while the host has no room.
pub(crate) fn trace(running: &Running, record: TraceRecord) {
    let at_ns = clock::monotonic_ns();
    say_whole(running, |id| GuestMessage::Trace { id, at_ns, record });
}

/// Says something that is not cut, when there is room.
fn say_whole(running: &Running, message: impl FnOnce(u32) -> GuestMessage) {
    task::wait_until(None, || running.get().has_room());
    let message = {
        let mut execution = running.get();
        if !execution.is_heard() {
            return;
        }
        let message = message(execution.id);
        let weight = message.weight().map_or(0, |(_, bytes)| bytes);
        execution.take_room_whole(weight);
        message
    };
    channel::say(&message);
}

/// Says how the file tree grew.
pub(crate) fn report_growth(running: &Running) {
    let grown = TREE.get().take_grown();
    for bytes in grown {
        let message = format!("file tree grew to {} MB", bytes >> 20);
        log(running, LogLevel::Info, message);
    }
}

/// The program meets an interrupt; the host hears of it. `is_reached`: it was reached from
/// outside. Whether there was one to be met.
pub(crate) fn take_interrupt(running: &Running, is_reached: bool) -> bool {
    let said = {
        let mut execution = running.get();
        execution
            .take_interrupt(is_reached)
            .then(|| execution.signalled())
    };
    if let Some(said) = &said {
        channel::say(said);
    }
    said.is_some()
}

/// The program wants standard input: the host may send some.
pub(crate) fn want_input(running: &Running) {
    let granted = {
        let mut execution = running.get();
        let id = execution.id;
        execution.input.grant().map(|bytes| (id, bytes))
    };
    if let Some((id, bytes)) = granted {
        channel::say(&GuestMessage::InputRoom { id, bytes });
    }
}

/// Reads standard input, waiting for it. [`Read::Wait`]: the execution was interrupted.
pub(crate) fn read_input(running: &Running, most: usize) -> Read {
    want_input(running);
    task::wait_until(None, || {
        let execution = running.get();
        execution.input.is_ready() || execution.is_interrupted()
    });
    running.get().input.read(most)
}

/// Asks the host for something and waits for the answer.
pub(crate) fn ask(running: &Running, name: String, payload: &[u8]) -> Result<Vec<u8>, CallError> {
    let (id, (call, token)) = {
        let mut execution = running.get();
        (execution.id, execution.calls.begin(&name, payload.len())?)
    };
    let (first, rest) = cut(payload);
    channel::say(&GuestMessage::Call {
        id,
        call,
        token,
        name,
        length: payload.len() as u64,
        bytes: first.to_vec(),
    });
    for part in rest {
        channel::say(&GuestMessage::CallPart {
            id,
            call,
            bytes: part.to_vec(),
        });
    }
    task::wait_until(None, || {
        let execution = running.get();
        execution.is_interrupted() || execution.calls.is_answered(call)
    });
    running.get().calls.take(call)
}
