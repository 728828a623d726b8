//! `host`: what the host does for the running execution.

use super::Interface;
use crate::execution::{self, CallError, Running};
use crate::files::{FileError, TREE, Tree};
use crate::runtime::state::Context;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use ukernel_abi::message::MAX_CALL_BYTES;
use wasmtime::component::{ComponentType, Lift, Lower};

/// `host.call-error`.
#[derive(ComponentType, Lift, Lower)]
#[component(variant)]
enum HostCallError {
    #[component(name = "refused")]
    Refused(String),
    #[component(name = "interrupted")]
    Interrupted,
    #[component(name = "closed")]
    Closed,
}

impl From<CallError> for HostCallError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Refused(reason) => Self::Refused(reason),
            CallError::Interrupted => Self::Interrupted,
            CallError::Closed => Self::Closed,
        }
    }
}

impl From<FileError> for HostCallError {
    fn from(error: FileError) -> Self {
        let reason = match error {
            FileError::Quota => "the file tree has no room for the answer",
            _ => "payload and answer have to be files, by absolute paths",
        };
        Self::Refused(reason.to_string())
    }
}

pub(super) fn link(interface: &mut Interface<'_>) -> wasmtime::Result<()> {
    interface.func_wrap(
        "call",
        |context: Context<'_>, (name, payload, answer): (String, String, String)| {
            Ok((ask(&context.data().execution, name, &payload, &answer),))
        },
    )
}

fn ask(running: &Running, name: String, payload: &str, answer: &str) -> Result<(), HostCallError> {
    let payload = read(payload)?;
    let bytes = execution::ask(running, name, &payload)?;
    drop(payload);
    write(answer, &bytes)?;
    Ok(())
}

fn read(path: &str) -> Result<Vec<u8>, HostCallError> {
    let tree = TREE.get();
    let node = tree.find(Tree::ROOT, absolute(path)?, true)?;
    if tree.status(node)?.bytes > MAX_CALL_BYTES as u64 {
        let reason = "a host call carries at most 16 MiB";
        return Err(HostCallError::Refused(reason.to_string()));
    }
    Ok(tree.read(node, 0, MAX_CALL_BYTES)?)
}

fn write(path: &str, bytes: &[u8]) -> Result<(), FileError> {
    let mut tree = TREE.get();
    let node = tree.make_file(Tree::ROOT, absolute(path)?, false)?;
    tree.resize(node, 0)?;
    tree.write(node, 0, bytes)
}

fn absolute(path: &str) -> Result<&str, FileError> {
    if path.starts_with('/') {
        Ok(path)
    } else {
        Err(FileError::Invalid)
    }
}
