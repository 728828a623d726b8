//! Compiling a component ahead of time, with the settings the kernel loads it with.

use crate::adapter::{Adapter, Signals};
use crate::{ImageError, Result, cpython};
use ukernel_abi::engine::{
    CPU_FEATURES, MEMORY_GUARD_BYTES, MEMORY_RESERVATION_BYTES, TARGET, WASMTIME_VERSION,
};
use ukernel_abi::image::{Header, SignalWord, VERSION};
use wasmtime::{Config, Engine};

/// Changes when the settings below do, those that `abi` names and those it does not.
pub(crate) fn settings() -> String {
    format!(
        "image {VERSION} wasmtime {WASMTIME_VERSION} {TARGET} {MEMORY_RESERVATION_BYTES} {MEMORY_GUARD_BYTES} {CPU_FEATURES:?} \
         no address map, no unwind information"
    )
}

/// An image: header and compiled component.
pub(crate) fn image(adapter: &Adapter, component: &[u8]) -> Result<Vec<u8>> {
    let words = signal_words(adapter, component)?;
    let compiled = compile(component).map_err(|error| ImageError::Compile(format!("{error:#}")))?;
    let digest = *blake3::hash(&compiled).as_bytes();
    let header = Header::new(
        &adapter.name,
        compiled.len() as u64,
        digest,
        adapter.stack_bytes,
        &words,
    )
    .map_err(|error| ImageError::Compile(error.to_string()))?;
    let mut image = header.to_bytes().to_vec();
    image.extend_from_slice(&compiled);
    Ok(image)
}

/// Where signals are marked in the component's memory, if the adapter names a layout.
fn signal_words(adapter: &Adapter, component: &[u8]) -> Result<Vec<SignalWord>> {
    let found = match adapter.signals {
        None => return Ok(Vec::new()),
        Some(Signals::Cpython314) => cpython::signal_words(component),
    };
    found
        .map_err(|error| ImageError::Compile(error.to_string()))?
        .ok_or_else(|| {
            ImageError::Compile(format!(
                "{} is not laid out in memory as its adapter.toml says",
                adapter.language
            ))
        })
}

fn compile(component: &[u8]) -> wasmtime::Result<Vec<u8>> {
    let mut config = Config::new();
    config
        .target(TARGET)?
        .signals_based_traps(true)
        .memory_reservation(MEMORY_RESERVATION_BYTES)
        .memory_guard_size(MEMORY_GUARD_BYTES)
        .memory_may_move(false)
        .memory_init_cow(false)
        // Tables nobody in the guest reads: they would be a third of the image.
        .generate_address_map(false)
        .native_unwind_info(false);
    enable_cpu_features(&mut config);
    Engine::new(&config)?.precompile_component(component)
}

#[expect(unsafe_code, reason = "cranelift's flags are unchecked words")]
fn enable_cpu_features(config: &mut Config) {
    for feature in CPU_FEATURES {
        // SAFETY: these only widen the instruction set; the guest's engine checks that its
        // processor has them before it loads the code.
        unsafe { config.cranelift_flag_enable(feature) };
    }
}
