//! Receipts: what happened, as JSON lines of which each is bound to all before it.
//!
//! ```text
//!   {"hash":"<64 hex digits>","entry":{"n":1,"at_ms":1795000000000,"event":"start",...}}
//!      └ BLAKE3 of the hash before (zeros at first) and of the entry's bytes as they stand here
//! ```
//! A changed, dropped or added entry breaks the chain at its place. What the chain alone cannot show is
//! that entries at the end are missing, or that all of it was written anew: a receipt that is complete
//! ends with a seal, whose hash can be noted elsewhere.
//!
//! An entry that could not be written (a full disk) leaves a gap in the numbers, which is told.
//!
//! What this crate refuses to do: decide what is worth an entry, or where receipts are kept.
#![forbid(unsafe_code)]

mod chain;
mod verify;

pub use chain::Chain;
pub use verify::{Fault, Verified, verify};

/// Longest line, in bytes. Entries are short; a longer one is refused.
pub const MAX_LINE_BYTES: usize = 16 << 10;

/// The event of the last entry.
pub const SEALED: &str = "sealed";

/// What a line begins with, before its hash, and what stands between hash and entry.
const BEFORE_HASH: &str = "{\"hash\":\"";
const BEFORE_ENTRY: &str = "\",\"entry\":";

/// The hash of an entry after another.
fn link(before: &blake3::Hash, entry: &[u8]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new_derive_key("ukernel 2026 audit chain v1");
    hasher.update(before.as_bytes()).update(entry);
    hasher.finalize()
}

/// Hash and entry of a line without its newline, if it has the form of one.
fn parts(line: &[u8]) -> Option<(blake3::Hash, &[u8])> {
    let rest = line.strip_prefix(BEFORE_HASH.as_bytes())?;
    let (hash, rest) = rest.split_at_checked(64)?;
    let entry = rest
        .strip_prefix(BEFORE_ENTRY.as_bytes())?
        .strip_suffix(b"}")?;
    Some((blake3::Hash::from_hex(hash).ok()?, entry))
}
