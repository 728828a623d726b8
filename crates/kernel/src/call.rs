//! Host calls: what an execution asks the host for, and the answers.
//!
//! ```text
//!   ask ──> WAITING ── Answer ──> COMING ── last part ──> ANSWERED ──> the caller goes on
//!              │                    │                         (a bad part: ANSWERED, refused)
//!              └── connection ended ┴──────────────────> CLOSED
//! ```
//! The session's token stays in here: it goes out with every call and no program ever sees it.

use crate::execution::Execution;
use crate::local::Local;
use crate::runtime::is_interrupted;
use crate::{channel, mem, task};
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use ukernel_abi::message::{GuestMessage, MAX_CALL_NAME_BYTES, MAX_PENDING_CALLS, SessionToken};
use ukernel_abi::parts::{Assembly, cut};

/// Why a call has no answer.
pub(crate) enum CallError {
    Refused(String),
    Interrupted,
    Closed,
}

enum Pending {
    Waiting,
    Coming { is_result: bool, payload: Assembly },
    Answered(Result<Vec<u8>, String>),
    Closed,
}

struct Calls {
    /// The running execution and what it may show.
    token: Option<(Execution, SessionToken)>,
    /// By number.
    pending: BTreeMap<u32, Pending>,
    next: u32,
}

static CALLS: Local<Calls> = Local::new(Calls {
    token: None,
    pending: BTreeMap::new(),
    next: 1,
});

/// An execution begins. Calls of an earlier one are refused from now on.
pub(crate) fn begin(execution: Execution, token: Option<SessionToken>) {
    CALLS.get().token = token.map(|token| (execution, token));
}

/// An execution has ended, and with it its right to call.
pub(crate) fn end() {
    CALLS.get().token = None;
}

/// Asks the host for something and waits.
pub(crate) fn ask(
    execution: Execution,
    name: String,
    payload: &[u8],
) -> Result<Vec<u8>, CallError> {
    if name.is_empty() || name.len() > MAX_CALL_NAME_BYTES {
        return Err(refused("the name of a host call has 1 to 64 bytes"));
    }
    let (call, token) = number(execution)?;
    let (first, rest) = cut(payload);
    channel::say(&GuestMessage::Call {
        id: execution.id,
        call,
        token,
        name,
        length: payload.len() as u64,
        bytes: first.to_vec(),
    });
    for part in rest {
        channel::say(&GuestMessage::CallPart {
            call,
            bytes: part.to_vec(),
        });
    }
    task::wait_until(None, || is_interrupted() || is_answered(call));
    match CALLS.get().pending.remove(&call) {
        Some(Pending::Answered(answer)) => answer.map_err(CallError::Refused),
        Some(Pending::Closed) | None => Err(CallError::Closed),
        Some(Pending::Waiting | Pending::Coming { .. }) => Err(CallError::Interrupted),
    }
}

/// The number of a new call, and the token it shows.
fn number(execution: Execution) -> Result<(u32, SessionToken), CallError> {
    let mut calls = CALLS.get();
    let token = match calls.token {
        Some((running, token)) if running == execution => token,
        _ => return Err(refused("nobody answers host calls of this execution")),
    };
    if calls.pending.len() >= MAX_PENDING_CALLS {
        return Err(refused("too many host calls wait for answers"));
    }
    let call = calls.next;
    calls.next = call.wrapping_add(1);
    calls.pending.insert(call, Pending::Waiting);
    Ok((call, token))
}

fn refused(reason: &str) -> CallError {
    CallError::Refused(reason.to_string())
}

fn is_answered(call: u32) -> bool {
    matches!(
        CALLS.get().pending.get(&call),
        Some(Pending::Answered(_) | Pending::Closed) | None
    )
}

/// The beginning of an answer. One that nobody waits for is passed over.
pub(crate) fn answer(call: u32, is_result: bool, length: u64, first: Vec<u8>) {
    let mut calls = CALLS.get();
    if let Some(pending @ Pending::Waiting) = calls.pending.get_mut(&call) {
        *pending = match Assembly::begin(length, first) {
            Ok(payload) => coming(is_result, payload),
            Err(error) => Pending::Answered(Err(error.to_string())),
        };
    }
    drop(calls);
    task::wake_all();
}

/// What follows of an answer.
pub(crate) fn answer_part(call: u32, part: &[u8]) {
    let mut calls = CALLS.get();
    let Some(pending) = calls.pending.get_mut(&call) else {
        return;
    };
    if let Pending::Coming { is_result, payload } = core::mem::replace(pending, Pending::Waiting) {
        let mut payload = payload;
        *pending = match mem::sparing(|| payload.push(part)) {
            Ok(()) => coming(is_result, payload),
            Err(error) => Pending::Answered(Err(error.to_string())),
        };
    }
    drop(calls);
    task::wake_all();
}

fn coming(is_result: bool, payload: Assembly) -> Pending {
    if !payload.is_whole() {
        return Pending::Coming { is_result, payload };
    }
    let bytes = payload.into_bytes();
    Pending::Answered(if is_result {
        Ok(bytes)
    } else {
        Err(String::from_utf8_lossy(&bytes).into_owned())
    })
}

/// The connection is gone: nobody will answer.
pub(crate) fn close() {
    let mut calls = CALLS.get();
    calls.token = None;
    for pending in calls.pending.values_mut() {
        *pending = Pending::Closed;
    }
    drop(calls);
    task::wake_all();
}
