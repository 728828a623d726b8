//! The ABI of `ukernel_abi`'s WIT package, as imports.

mod host;
mod io;
mod ipc;
mod net;
mod observe;
mod task;

pub(crate) use task::configure as configure_spawn;
pub(super) use task::limit as limit_tasks;

use super::state::State;
use crate::files::FileError;
use wasmtime::component::{ComponentType, Lift, Linker, LinkerInstance, Lower};

/// Adds every interface of the package.
pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    task::link(&mut interface(linker, "ukernel:abi/task@0.1.0")?)?;
    io::link(&mut interface(linker, "ukernel:abi/io@0.1.0")?)?;
    ipc::link(&mut interface(linker, "ukernel:abi/ipc@0.1.0")?)?;
    net::link(&mut interface(linker, "ukernel:abi/net@0.1.0")?)?;
    host::link(&mut interface(linker, "ukernel:abi/host@0.1.0")?)?;
    observe::link_log(&mut interface(linker, "ukernel:abi/log@0.1.0")?)?;
    observe::link_trace(&mut interface(linker, "ukernel:abi/trace@0.1.0")?)
}

type Interface<'a> = LinkerInstance<'a, State>;

fn interface<'a>(linker: &'a mut Linker<State>, name: &str) -> wasmtime::Result<Interface<'a>> {
    linker.instance(name)
}

/// `types.error`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(enum)]
#[repr(u8)]
#[expect(
    dead_code,
    reason = "the whole enumeration, whether or not a call gives each"
)]
pub(super) enum AbiError {
    #[component(name = "not-found")]
    NotFound,
    #[component(name = "exists")]
    Exists,
    #[component(name = "is-directory")]
    IsDirectory,
    #[component(name = "not-directory")]
    NotDirectory,
    #[component(name = "invalid")]
    Invalid,
    #[component(name = "denied")]
    Denied,
    #[component(name = "limit")]
    Limit,
    #[component(name = "closed")]
    Closed,
    #[component(name = "interrupted")]
    Interrupted,
    #[component(name = "unsupported")]
    Unsupported,
}

impl From<FileError> for AbiError {
    fn from(error: FileError) -> Self {
        match error {
            FileError::NotFound => Self::NotFound,
            FileError::Exists => Self::Exists,
            FileError::IsDirectory => Self::IsDirectory,
            FileError::NotDirectory => Self::NotDirectory,
            FileError::NotEmpty
            | FileError::TooManyLinks
            | FileError::Invalid
            | FileError::NameTooLong => Self::Invalid,
            FileError::Quota => Self::Limit,
        }
    }
}
