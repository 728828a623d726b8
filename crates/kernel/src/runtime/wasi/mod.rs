//! WASI 0.2, as much of it as language runtimes need, above the kernel's own modules.
//!
//! Sockets are refused, standard input is at its end, the environment is fixed, and what a
//! runtime names but never calls traps if it is called after all.

mod cli;
mod clocks;
mod descriptor;
mod error;
mod io;
mod random;
mod sockets;
mod streams;

use super::engine::Loaded;
use super::state::State;
use alloc::format;
use alloc::string::{String, ToString};
use wasmtime::component::{Linker, LinkerInstance};

/// Adds every WASI interface at the version the component asks for.
pub(super) fn link(linker: &mut Linker<State>, loaded: &Loaded) -> wasmtime::Result<()> {
    // Unknown imports first: real definitions then take their place.
    linker.define_unknown_imports_as_traps(&loaded.component)?;
    linker.allow_shadowing(true);
    let Some(version) = version(loaded) else { return Ok(()) };
    let mut wasi = Wasi { linker, version };
    cli::link(&mut wasi)?;
    clocks::link(&mut wasi)?;
    io::link(&mut wasi)?;
    streams::link(&mut wasi)?;
    descriptor::link(&mut wasi)?;
    random::link(&mut wasi)?;
    sockets::link(&mut wasi)
}

/// The WASI release the component was built against: all its imports name the same.
fn version(loaded: &Loaded) -> Option<String> {
    let ty = loaded.component.component_type();
    ty.imports(&loaded.engine)
        .find_map(|(name, _)| name.strip_prefix("wasi:")?.split_once('@').map(|(_, version)| version.to_string()))
}

struct Wasi<'a> {
    linker: &'a mut Linker<State>,
    version: String,
}

impl Wasi<'_> {
    /// `io/poll` is `wasi:io/poll` at the component's version.
    fn interface(&mut self, name: &str) -> wasmtime::Result<LinkerInstance<'_, State>> {
        self.linker.instance(&format!("wasi:{name}@{}", self.version))
    }
}
