//! What reaches a program that only computes: the interrupt table (`ukernel_abi::interrupt`).
//!
//! The image says which words of linear memory a signal changes. Here they become physical
//! addresses, which the VMM writes to while the guest stands still.
#![expect(unsafe_code, reason = "the table is at a fixed place")]

use super::engine::Loaded;
use super::memory::largest;
use crate::local::Local;
use alloc::vec::Vec;
use ukernel_abi::image::SignalWord;
use ukernel_abi::interrupt::{Entry, INTERRUPT, TABLE_BYTES, encode};

/// At `TABLE_ADDRESS`, by the linker script.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".data.first")]
static mut interrupt_table: [u8; TABLE_BYTES] = [0; TABLE_BYTES];

/// The words of the interrupt, by address in the largest linear memory.
static WORDS: Local<Vec<SignalWord>> = Local::new(Vec::new());

/// Fills the table, once the component is instantiated. Programs of an image that lists no
/// words cannot be interrupted while they compute, only ended.
pub(crate) fn list_words(loaded: &Loaded) {
    let Some(memory) = largest() else { return };
    let words = loaded.header.signal_words().iter();
    let words: Vec<_> = words
        .filter(|word| word.signal == INTERRUPT)
        .copied()
        .collect();
    let entries: Vec<Entry> = words
        .iter()
        .filter_map(|word| {
            Some(Entry {
                address: memory.physical(u64::from(word.address))?,
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
    *WORDS.get() = words;
}

/// Does what the table says from inside: for a program that is about to wake from a call
/// that cannot tell it why.
pub(super) fn trip() {
    let Some(memory) = largest() else { return };
    for word in WORDS.get().iter() {
        let address = u64::from(word.address);
        if let Some(old) = memory.word(address) {
            memory.set_word(address, (old & word.keep) | word.set);
        }
    }
}
