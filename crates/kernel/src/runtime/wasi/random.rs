//! `wasi:random`: the kernel's generator, for all three interfaces.

use super::Wasi;
use crate::random;
use crate::runtime::state::Context;
use alloc::vec;
use alloc::vec::Vec;

/// Most random bytes given at once.
const MAX_BYTES: u64 = 1 << 20;

fn bytes(count: u64) -> wasmtime::Result<Vec<u8>> {
    if count > MAX_BYTES {
        return Err(wasmtime::Error::msg(
            "more than 1 MiB of random bytes at once",
        ));
    }
    let mut bytes = vec![0; count as usize];
    random::fill(&mut bytes);
    Ok(bytes)
}

fn number() -> u64 {
    let mut bytes = [0; 8];
    random::fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

pub(super) fn link(wasi: &mut Wasi<'_>) -> wasmtime::Result<()> {
    let mut secure = wasi.interface("random/random")?;
    secure.func_wrap("get-random-bytes", |_: Context<'_>, (count,): (u64,)| {
        Ok((bytes(count)?,))
    })?;
    secure.func_wrap("get-random-u64", |_: Context<'_>, ()| Ok((number(),)))?;
    let mut insecure = wasi.interface("random/insecure")?;
    insecure.func_wrap(
        "get-insecure-random-bytes",
        |_: Context<'_>, (count,): (u64,)| Ok((bytes(count)?,)),
    )?;
    insecure.func_wrap("get-insecure-random-u64", |_: Context<'_>, ()| {
        Ok((number(),))
    })?;
    wasi.interface("random/insecure-seed")?
        .func_wrap("insecure-seed", |_: Context<'_>, ()| {
            Ok(((number(), number()),))
        })
}
