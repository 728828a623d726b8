//! What reaches a program that only computes: the interrupt table (`ukernel_abi::interrupt`).
//!
//! CPython looks at a word of its thread state, the *eval breaker*, at every safe point. What a
//! C signal handler does to have Python code called for SIGINT is three writes: mark the signal
//! as tripped, mark that some signal is, and set the bit of the eval breaker that says so. The
//! table lists these three, and the VMM does them.
//!
//! Where they are: CPython 3.13 and later puts a table of its own layout at the start of
//! `_PyRuntime`, found by its cookie (PEP 768, `_Py_DebugOffsets`). It leads to the thread
//! state. The signals' state is not in it and is recognised by its shape: pairs of a flag and a
//! handler for each signal, then the wakeup file (none: -1), then `is_tripped`.
#![expect(unsafe_code, reason = "the table is at a fixed place")]

use super::memory::{Memory, largest};
use crate::local::Local;
use alloc::vec::Vec;
use ukernel_abi::interrupt::{Entry, TABLE_BYTES, encode};

/// At `TABLE_ADDRESS`, by the linker script.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".data.first")]
static mut interrupt_table: [u8; TABLE_BYTES] = [0; TABLE_BYTES];

/// The words, by address in the largest linear memory.
static WORDS: Local<Option<Vec<Word>>> = Local::new(None);

/// `word = (word & keep) | set`.
#[derive(Clone, Copy)]
struct Word {
    address: u64,
    keep: u32,
    set: u32,
}

/// "xdebugpy", as two words.
const COOKIE: [u32; 2] = [u32::from_le_bytes(*b"xdeb"), u32::from_le_bytes(*b"ugpy")];

/// Major and minor version of the layout known here: CPython 3.14.
const VERSION: u64 = 0x030e;

/// `_Py_DebugOffsets`: 64-bit fields, by offset.
const VERSION_AT: u64 = 8;
const RUNTIME_SIZE_AT: u64 = 24;
const INTERPRETERS_HEAD_AT: u64 = 40;
const THREADS_HEAD_AT: u64 = 72;
const EVAL_BREAKER_AT: u64 = 712;

/// `_PY_SIGNALS_PENDING_BIT`.
const SIGNALS_PENDING: u32 = 1 << 1;

/// Number of the signal.
const SIGINT: u64 = 2;

/// Largest `_PyRuntime` believed in, in bytes.
const MAX_RUNTIME_BYTES: u64 = 1 << 20;

/// Fills the table, if the runtime is one that is known. A runtime that is not cannot be
/// interrupted while it computes, only ended.
pub(crate) fn list_words() {
    if WORDS.get().is_some() {
        return;
    }
    let memory = largest();
    let words = memory
        .as_ref()
        .and_then(|memory| find(memory))
        .unwrap_or_default();
    let entries: Vec<Entry> = words
        .iter()
        .filter_map(|word| {
            let address = memory.as_ref()?.physical(word.address)?;
            Some(Entry {
                address,
                keep: word.keep,
                set: word.set,
            })
        })
        .collect();
    for (at, byte) in encode(&entries).into_iter().enumerate() {
        // SAFETY: the table is written here only, once, and read by the VMM while the guest
        // stands still; no reference to it is made.
        unsafe { core::ptr::write_volatile((&raw mut interrupt_table).cast::<u8>().add(at), byte) };
    }
    *WORDS.get() = Some(words);
}

/// Does what the table says from inside: for a program that is about to wake from a call
/// that cannot tell it why.
pub(super) fn trip() {
    let Some(memory) = largest() else { return };
    for word in WORDS.get().iter().flatten() {
        if let Some(old) = memory.word(word.address) {
            memory.set_word(word.address, (old & word.keep) | word.set);
        }
    }
}

fn find(memory: &Memory) -> Option<Vec<Word>> {
    let runtime = find_runtime(memory)?;
    let field = |at: u64| long(memory, runtime + at);
    let interpreter = pointer(memory, runtime.checked_add(field(INTERPRETERS_HEAD_AT)?)?)?;
    let thread = pointer(memory, interpreter.checked_add(field(THREADS_HEAD_AT)?)?)?;
    let breaker = thread.checked_add(field(EVAL_BREAKER_AT)?)?;
    let signals = find_signals(memory, runtime)?;
    Some(Vec::from([
        Word {
            address: signals.handlers + SIGINT * 8,
            keep: 0,
            set: 1,
        },
        Word {
            address: signals.is_tripped,
            keep: 0,
            set: 1,
        },
        Word {
            address: breaker,
            keep: u32::MAX,
            set: SIGNALS_PENDING,
        },
    ]))
}

/// Where `_PyRuntime` is.
fn find_runtime(memory: &Memory) -> Option<u64> {
    (0..)
        .step_by(8)
        .map_while(|at| memory.word(at).map(|word| (at, word)))
        .find(|(at, word)| {
            *word == COOKIE[0]
                && memory.word(at + 4) == Some(COOKIE[1])
                && long(memory, at + VERSION_AT).is_some_and(|version| version >> 16 == VERSION)
        })
        .map(|(at, _)| at)
}

struct Signals {
    /// `handlers[0]`.
    handlers: u64,
    is_tripped: u64,
}

/// The signals' state inside `_PyRuntime`: before `is_tripped` stand the wakeup file and a
/// flag, behind it two handler objects.
fn find_signals(memory: &Memory, runtime: u64) -> Option<Signals> {
    let size = long(memory, runtime + RUNTIME_SIZE_AT)?.min(MAX_RUNTIME_BYTES);
    let word = |at: u64| memory.word(at);
    (runtime..runtime + size).step_by(4).find_map(|wakeup| {
        let looks_right = word(wakeup) == Some(u32::MAX)
            && word(wakeup + 4)? <= 1
            && word(wakeup + 8) == Some(0)
            && word(wakeup + 12)? != 0
            && word(wakeup + 16)? != 0;
        if !looks_right {
            return None;
        }
        // Backward over pairs of "not tripped" and a handler, down to signal 1: there is no
        // signal 0, and its handler is null.
        let mut first = wakeup;
        while first >= runtime + 8 && word(first - 8) == Some(0) && word(first - 4)? != 0 {
            first -= 8;
        }
        // There are more than twenty signals; anything shorter is a coincidence.
        (wakeup - first > 20 * 8).then_some(Signals {
            handlers: first - 8,
            is_tripped: wakeup + 8,
        })
    })
}

/// A 64-bit field.
fn long(memory: &Memory, at: u64) -> Option<u64> {
    Some(u64::from(memory.word(at)?) | u64::from(memory.word(at.checked_add(4)?)?) << 32)
}

/// A pointer that is not null.
fn pointer(memory: &Memory, at: u64) -> Option<u64> {
    memory.word(at).map(u64::from).filter(|target| *target != 0)
}
