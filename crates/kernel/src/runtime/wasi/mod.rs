//! WASI 0.2, as much of it as language runtimes need, above the kernel's own modules.
//!
//! Sockets are refused, the environment is fixed, and what a
//! runtime names but never calls traps if it is called after all.

mod cli;
mod clocks;
mod descriptor;
mod error;
mod filesystem_types;
mod io;
mod random;
mod sockets;
mod streams;

use super::engine::Loaded;
use super::state::State;
use alloc::format;
use alloc::string::{String, ToString};
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Linker, LinkerInstance, ResourceType};

/// Adds every WASI interface at the version the component asks for. What is imported beyond
/// that traps when it is called.
pub(super) fn link(linker: &mut Linker<State>, loaded: &Loaded) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    if let Some(version) = version(loaded) {
        link_resources(linker, loaded)?;
        let mut wasi = Wasi { linker, version };
        cli::link(&mut wasi)?;
        clocks::link(&mut wasi)?;
        io::link(&mut wasi)?;
        streams::link(&mut wasi)?;
        descriptor::link(&mut wasi)?;
        random::link(&mut wasi)?;
        sockets::link(&mut wasi)?;
    }
    linker.define_unknown_imports_as_traps(&loaded.component)
}

/// Gives every resource the component imports its one host type, also where an interface
/// only passes on another's. The interface that owns it then adds its destructor.
fn link_resources(linker: &mut Linker<State>, loaded: &Loaded) -> wasmtime::Result<()> {
    let engine = &loaded.engine;
    for (name, import) in loaded.component.component_type().imports(engine) {
        let ComponentItem::ComponentInstance(instance) = import.ty else {
            continue;
        };
        if !name.starts_with("wasi:") {
            continue;
        }
        for (resource, export) in instance.exports(engine) {
            if let ComponentItem::Resource(_) = export.ty
                && let Some(host_type) = host_type(resource)
            {
                linker
                    .instance(name)?
                    .resource(resource, host_type, |_, _| Ok(()))?;
            }
        }
    }
    Ok(())
}

/// The host type of a WASI resource. Resource names are unique in WASI 0.2.
fn host_type(resource: &str) -> Option<ResourceType> {
    Some(match resource {
        "pollable" => ResourceType::host::<io::Pollable>(),
        "error" => ResourceType::host::<io::IoError>(),
        "input-stream" => ResourceType::host::<streams::InputStream>(),
        "output-stream" => ResourceType::host::<streams::OutputStream>(),
        "descriptor" => ResourceType::host::<descriptor::Descriptor>(),
        "directory-entry-stream" => ResourceType::host::<descriptor::Entries>(),
        "terminal-input" | "terminal-output" => ResourceType::host::<cli::Terminal>(),
        "network" => ResourceType::host::<sockets::Network>(),
        "tcp-socket" => ResourceType::host::<sockets::TcpSocket>(),
        "udp-socket" => ResourceType::host::<sockets::UdpSocket>(),
        "resolve-address-stream" => ResourceType::host::<sockets::Addresses>(),
        _ => return None,
    })
}

/// The WASI release the component was built against: all its imports name the same.
fn version(loaded: &Loaded) -> Option<String> {
    let ty = loaded.component.component_type();
    ty.imports(&loaded.engine).find_map(|(name, _)| {
        name.strip_prefix("wasi:")?
            .split_once('@')
            .map(|(_, version)| version.to_string())
    })
}

struct Wasi<'a> {
    linker: &'a mut Linker<State>,
    version: String,
}

impl Wasi<'_> {
    /// `io/poll` is `wasi:io/poll` at the component's version.
    fn interface(&mut self, name: &str) -> wasmtime::Result<LinkerInstance<'_, State>> {
        self.linker
            .instance(&format!("wasi:{name}@{}", self.version))
    }
}
