//! The engine, and the component the image holds.
#![expect(
    unsafe_code,
    reason = "precompiled code is trusted, its maker being our own host"
)]

use super::memory::Windows;
use crate::boot::Boot;
use crate::{mem, report};
use alloc::sync::Arc;
use core::ptr::NonNull;
use ukernel_abi::engine::{MEMORY_GUARD_BYTES, MEMORY_RESERVATION_BYTES};
use ukernel_abi::image::{COMPONENT_OFFSET, Header};
use ukernel_abi::layout::PAGE_BYTES;
use wasmtime::component::Component;
use wasmtime::{Config, CustomCodeMemory, Engine};

/// A component ready to be instantiated.
pub(crate) struct Loaded {
    pub(super) engine: Engine,
    pub(super) component: Component,
    /// What the image says of the component.
    pub(crate) header: Header,
}

/// Loads the image where it lies. Before the seal, because its code becomes executable.
pub(crate) fn load(boot: &Boot) -> Loaded {
    try_load(boot).unwrap_or_else(|error| report::fatal(format_args!("image: {error:?}")))
}

fn try_load(boot: &Boot) -> wasmtime::Result<Loaded> {
    let start = boot.image.start as usize;
    let length = (boot.image.end - boot.image.start) as usize;
    // SAFETY: the boot information placed the image in identity-mapped memory outside the
    // pool (checked there), and nobody writes to it.
    let image = unsafe { core::slice::from_raw_parts(start as *const u8, length) };
    let header =
        Header::parse(image, length as u64).map_err(|error| wasmtime::format_err!("{error}"))?;
    let engine = Engine::new(&config(header.stack_bytes as usize)?)?;
    let component = NonNull::new((start + COMPONENT_OFFSET as usize) as *mut u8)
        .map(|at| NonNull::slice_from_raw_parts(at, header.component_bytes as usize))
        .ok_or_else(|| wasmtime::Error::msg("image at address zero"))?;
    // SAFETY: the host compiled and digested this code; it stays where it is, unchanged.
    let component = unsafe { Component::deserialize_raw(&engine, component)? };
    Ok(Loaded {
        engine,
        component,
        header,
    })
}

fn config(stack_bytes: usize) -> wasmtime::Result<Config> {
    let mut config = Config::new();
    config
        .signals_based_traps(true)
        .memory_reservation(MEMORY_RESERVATION_BYTES)
        .memory_guard_size(MEMORY_GUARD_BYTES)
        .memory_may_move(false)
        .memory_init_cow(false)
        // Unused without async, but wasmtime insists that it is not the smaller one.
        .async_stack_size(stack_bytes)
        .max_wasm_stack(stack_bytes)
        .with_host_memory(Arc::new(Windows))
        .with_custom_code_memory(Some(Arc::new(SealedCode)));
    // SAFETY: what `has_feature` says is what the processor says.
    unsafe { config.detect_host_feature(has_feature) };
    Ok(config)
}

/// Which of the features images are compiled for the processor has (CPUID leaf 1, ECX).
fn has_feature(name: &str) -> Option<bool> {
    let bit = match name {
        "sse3" => 0,
        "ssse3" => 9,
        "cmpxchg16b" => 13,
        "sse4.1" => 19,
        "sse4.2" => 20,
        "popcnt" => 23,
        _ => return None,
    };
    let leaf = core::arch::x86_64::__cpuid(1);
    Some(leaf.ecx & (1 << bit) != 0)
}

/// Makes compiled code executable: once, while the page tables are still open.
struct SealedCode;

impl CustomCodeMemory for SealedCode {
    fn required_alignment(&self) -> usize {
        PAGE_BYTES as usize
    }

    fn publish_executable(&self, start: *const u8, length: usize) -> wasmtime::Result<()> {
        let start = start as u64;
        mem::make_executable(start..start + length as u64)
            .map_err(|_| wasmtime::Error::msg("the code cannot be made executable"))
    }

    fn unpublish_executable(&self, _: *const u8, _: usize) -> wasmtime::Result<()> {
        // Called when the component is dropped, which lives as long as the VM.
        Ok(())
    }
}
