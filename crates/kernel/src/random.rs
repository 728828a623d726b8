//! Random numbers: ChaCha20 seeded by the host, again after every fork or restore.

use crate::local::Local;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

static GENERATOR: Local<Option<ChaCha20Rng>> = Local::new(None);

/// Replaces the generator. Nothing of the old state is kept: a clone must not share it.
pub(crate) fn seed(entropy: [u8; 32]) {
    *GENERATOR.get() = Some(ChaCha20Rng::from_seed(entropy));
}

/// Fills `bytes`. Before the first seed they are all zero: a runtime that initialises
/// itself into a template draws numbers nobody may rely on, and draws anew on resume.
pub(crate) fn fill(bytes: &mut [u8]) {
    match GENERATOR.get().as_mut() {
        Some(generator) => generator.fill_bytes(bytes),
        None => bytes.fill(0),
    }
}
