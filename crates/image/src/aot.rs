//! Compiling a component ahead of time, with the settings the kernel loads it with.

use crate::{ImageError, Result};
use ukernel_abi::engine::{
    CPU_FEATURES, MEMORY_GUARD_BYTES, MEMORY_RESERVATION_BYTES, TARGET, WASMTIME_VERSION,
};
use ukernel_abi::image::Header;
use wasmtime::{Config, Engine};

/// Changes when the settings below do, those that `abi` names and those it does not.
pub(crate) fn settings() -> String {
    format!(
        "wasmtime {WASMTIME_VERSION} {TARGET} {MEMORY_RESERVATION_BYTES} {MEMORY_GUARD_BYTES} {CPU_FEATURES:?} \
         no address map, no unwind information"
    )
}

/// An image: header and compiled component.
pub(crate) fn image(adapter: &str, component: &[u8]) -> Result<Vec<u8>> {
    let compiled = compile(component).map_err(|error| ImageError::Compile(format!("{error:#}")))?;
    let digest = *blake3::hash(&compiled).as_bytes();
    let header = Header::new(adapter, compiled.len() as u64, digest)
        .map_err(|error| ImageError::Compile(error.to_string()))?;
    let mut image = header.to_bytes().to_vec();
    image.extend_from_slice(&compiled);
    Ok(image)
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
