//! Which words of a component's memory a signal changes, for CPython 3.14.
//!
//! CPython looks at a word of its thread state, the *eval breaker*, at every safe point. What a
//! C signal handler does to have Python code called is three writes: mark the signal as tripped,
//! mark that some signal is, and set the bit of the eval breaker that says so.
//!
//! componentize-py starts the interpreter while it builds the component, whose data segments are
//! the memory that leaves. Interpreter and thread exist in it, so the three addresses are the
//! same in every instance.
//!
//! CPython 3.13 and later puts a table of its own layout at the start of `_PyRuntime`, found by
//! its cookie (PEP 768, `_Py_DebugOffsets`). It leads to the thread state. The signals' state is
//! not in it and is recognised by its shape: pairs of a flag and a handler for each signal, then
//! the wakeup file (none: -1), then `is_tripped`.

use ukernel_abi::image::SignalWord;
use ukernel_abi::interrupt::SIGNALS;
use wasmparser::{BinaryReaderError, DataKind, Operator, Parser, Payload};

/// "xdebugpy", then the version as it stands in memory: patch level in the low half.
const COOKIE: &[u8; 8] = b"xdebugpy";
const VERSION: u64 = 0x030e;

/// `_Py_DebugOffsets`: 64-bit fields, by offset.
const VERSION_AT: u32 = 8;
const RUNTIME_SIZE_AT: u32 = 24;
const INTERPRETERS_HEAD_AT: u32 = 40;
const THREADS_HEAD_AT: u32 = 72;
const EVAL_BREAKER_AT: u32 = 712;

/// `_PY_SIGNALS_PENDING_BIT`.
const SIGNALS_PENDING: u32 = 1 << 1;

/// Largest `_PyRuntime` believed in, in bytes.
const MAX_RUNTIME_BYTES: u32 = 1 << 20;

/// There are more than twenty signals; fewer pairs of flag and handler are a coincidence.
const MIN_SIGNALS: u32 = 20;

/// The words of every signal that may be sent to a program. `None`: there is no CPython 3.14 in
/// the component, or none that was started.
///
/// # Errors
/// The component is no WebAssembly.
pub(crate) fn signal_words(component: &[u8]) -> Result<Option<Vec<SignalWord>>, BinaryReaderError> {
    Ok(find(&Memory::of(component)?))
}

fn find(memory: &Memory) -> Option<Vec<SignalWord>> {
    let runtime = memory.runtime()?;
    let field = |at: u32| memory.long(runtime.checked_add(at)?);
    let offset = |at: u32| u32::try_from(field(at)?).ok();
    let interpreter = memory.pointer(runtime.checked_add(offset(INTERPRETERS_HEAD_AT)?)?)?;
    let thread = memory.pointer(interpreter.checked_add(offset(THREADS_HEAD_AT)?)?)?;
    let breaker = thread.checked_add(offset(EVAL_BREAKER_AT)?)?;
    memory.word(breaker)?;
    let (handlers, is_tripped) = memory.signals(runtime, offset(RUNTIME_SIZE_AT)?)?;
    let words = SIGNALS.into_iter().flat_map(|signal| {
        let word = move |address, keep, set| SignalWord {
            signal,
            address,
            keep,
            set,
        };
        [
            word(handlers + signal * 8, 0, 1),
            word(is_tripped, 0, 1),
            word(breaker, u32::MAX, SIGNALS_PENDING),
        ]
    });
    Some(words.collect())
}

/// A component's linear memory as every instance begins with it.
struct Memory(Vec<u8>);

impl Memory {
    /// What the data segments of constant offset make of the first memory.
    fn of(component: &[u8]) -> Result<Self, BinaryReaderError> {
        let mut memory = Vec::new();
        for payload in Parser::new(0).parse_all(component) {
            let Payload::DataSection(segments) = payload? else {
                continue;
            };
            for segment in segments {
                let segment = segment?;
                let DataKind::Active {
                    memory_index: 0,
                    offset_expr,
                } = segment.kind
                else {
                    continue;
                };
                let Operator::I32Const { value } = offset_expr.get_operators_reader().read()?
                else {
                    continue;
                };
                let start = value.cast_unsigned() as usize;
                let end = start + segment.data.len();
                if memory.len() < end {
                    memory.resize(end, 0);
                }
                memory[start..end].copy_from_slice(segment.data);
            }
        }
        Ok(Self(memory))
    }

    /// The 32-bit word at `address`.
    fn word(&self, address: u32) -> Option<u32> {
        let bytes = self.0.get(address as usize..)?.first_chunk()?;
        Some(u32::from_le_bytes(*bytes))
    }

    /// A 64-bit field.
    fn long(&self, address: u32) -> Option<u64> {
        let bytes = self.0.get(address as usize..)?.first_chunk()?;
        Some(u64::from_le_bytes(*bytes))
    }

    /// A pointer that is not null.
    fn pointer(&self, address: u32) -> Option<u32> {
        self.word(address).filter(|target| *target != 0)
    }

    /// Where `_PyRuntime` is.
    fn runtime(&self) -> Option<u32> {
        let (words, _) = self.0.as_chunks::<8>();
        let cookies = words.iter().enumerate().filter(|(_, word)| *word == COOKIE);
        cookies
            .filter_map(|(number, _)| u32::try_from(number * 8).ok())
            .find(|at| {
                self.long(at + VERSION_AT)
                    .is_some_and(|version| version >> 16 == VERSION)
            })
    }

    /// `handlers[0]` and `is_tripped` inside `_PyRuntime`: before `is_tripped` stand the wakeup
    /// file and a flag, behind it two handler objects.
    fn signals(&self, runtime: u32, runtime_bytes: u32) -> Option<(u32, u32)> {
        let end = runtime.checked_add(runtime_bytes.min(MAX_RUNTIME_BYTES))?;
        let word = |at: u32| self.word(at);
        (runtime..end).step_by(4).find_map(|wakeup| {
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
            (wakeup - first > MIN_SIGNALS * 8).then_some((first - 8, wakeup + 8))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RUNTIME: u32 = 0x100;
    const INTERPRETER: u32 = 0x1000;
    const THREAD: u32 = 0x1800;
    const HANDLERS: u32 = 0x200;
    const SIGNAL_COUNT: u32 = 32;

    /// A memory laid out as CPython 3.14 does, small.
    fn started() -> Memory {
        let mut memory = Memory(vec![0; 0x2000]);
        let mut put = |at: u32, bytes: &[u8]| {
            memory.0[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
        };
        put(RUNTIME, COOKIE);
        for (at, value) in [
            (VERSION_AT, 0x030e_00f0),
            (RUNTIME_SIZE_AT, 0x800u64),
            (INTERPRETERS_HEAD_AT, 0x90),
            (THREADS_HEAD_AT, 0x20),
            (EVAL_BREAKER_AT, 0x18),
        ] {
            put(RUNTIME + at, &value.to_le_bytes());
        }
        let wakeup = HANDLERS + SIGNAL_COUNT * 8;
        let handlers = (1..SIGNAL_COUNT).map(|signal| (HANDLERS + signal * 8 + 4, 0xbeef));
        let words = [
            (RUNTIME + 0x90, INTERPRETER),
            (INTERPRETER + 0x20, THREAD),
            (wakeup, u32::MAX),
            (wakeup + 4, 1),
            (wakeup + 12, 0xbeef),
            (wakeup + 16, 0xbeef),
        ];
        for (at, value) in words.into_iter().chain(handlers) {
            put(at, &value.to_le_bytes());
        }
        memory
    }

    #[test]
    fn the_words_of_a_signal_are_found() {
        let words = find(&started()).expect("CPython");
        let interrupt: Vec<_> = words.iter().filter(|word| word.signal == 2).collect();
        let addresses: Vec<_> = interrupt.iter().map(|word| word.address).collect();
        let tripped = HANDLERS + SIGNAL_COUNT * 8 + 8;
        assert_eq!(addresses, [HANDLERS + 2 * 8, tripped, THREAD + 0x18]);
        assert_eq!(
            interrupt[2].keep,
            u32::MAX,
            "other bits of the eval breaker stay"
        );
    }

    #[test]
    fn another_version_or_one_that_was_not_started_is_not_known() {
        let mut other = started();
        other.0[RUNTIME as usize + 10] = 0x0f;
        let mut not_started = started();
        not_started.0[RUNTIME as usize + 0x90..][..4].fill(0);
        for memory in [other, not_started, Memory(Vec::new())] {
            assert!(find(&memory).is_none());
        }
    }

    proptest! {
        #[test]
        fn any_component_is_decided(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut component = b"\0asm\x0d\0\x01\0".to_vec();
            component.extend(bytes);
            let _ = signal_words(&component);
        }

        #[test]
        fn any_layout_is_decided(at in 0usize..0x2000, value in any::<u32>()) {
            let mut memory = started();
            let at = (at & !3).min(0x2000 - 4);
            memory.0[at..at + 4].copy_from_slice(&value.to_le_bytes());
            let _ = find(&memory);
        }
    }
}
