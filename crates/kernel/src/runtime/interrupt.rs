//! What reaches a program that only computes: the signal tables (`ukernel_abi::interrupt`).
//!
//! The image says which words of linear memory a signal changes. Here they become physical
//! addresses, which the VMM writes to while the guest stands still.
#![expect(unsafe_code, reason = "the tables are at a fixed place")]

use super::engine::Loaded;
use super::memory::largest;
use crate::dev::platform;
use crate::local::Local;
use alloc::vec::Vec;
use ukernel_abi::image::SignalWord;
use ukernel_abi::interrupt::{ALARM, Entry, INTERRUPT, SIGNALS, TABLE_BYTES, encode};

/// At `INTERRUPT_TABLE` and `ALARM_TABLE`, by the linker script; in the order of `SIGNALS`.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".data.first")]
static mut signal_tables: [[u8; TABLE_BYTES]; SIGNALS.len()] = [[0; TABLE_BYTES]; SIGNALS.len()];

/// The words of all signals, by address in the largest linear memory.
static WORDS: Local<Vec<SignalWord>> = Local::new(Vec::new());

/// Fills the tables, once the component is instantiated. Programs of an image that lists no
/// words cannot be interrupted while they compute, only ended.
pub(crate) fn list_words(loaded: &Loaded) {
    let Some(memory) = largest() else { return };
    let words = loaded.header.signal_words();
    for (number, signal) in SIGNALS.into_iter().enumerate() {
        let entries: Vec<Entry> = words
            .iter()
            .filter(|word| word.signal == signal)
            .filter_map(|word| {
                Some(Entry {
                    address: memory.physical(u64::from(word.address))?,
                    keep: word.keep,
                    set: word.set,
                })
            })
            .collect();
        for (at, byte) in encode(&entries).into_iter().enumerate() {
            // SAFETY: inside the tables, one for each signal. They are written here only, once,
            // and read by the VMM while the guest stands still; no reference to them is made.
            unsafe {
                let table = (&raw mut signal_tables)
                    .cast::<u8>()
                    .add(number * TABLE_BYTES);
                core::ptr::write_volatile(table.add(at), byte);
            }
        }
    }
    *WORDS.get() = words.to_vec();
}

/// Does what the interrupt's table says from inside: for a program that is about to wake from a
/// call that cannot tell it why.
pub(super) fn trip() {
    let Some(memory) = largest() else { return };
    for word in WORDS.get().iter().filter(|word| word.signal == INTERRUPT) {
        let address = u64::from(word.address);
        if let Some(old) = memory.word(address) {
            memory.set_word(address, (old & word.keep) | word.set);
        }
    }
}

/// Sets the alarm of the first instance. Whether it can be done.
pub(super) fn set_alarm(after_ns: u64) -> bool {
    WORDS.get().iter().any(|word| word.signal == ALARM) && platform::set_alarm(after_ns)
}
