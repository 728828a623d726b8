//! `host`: what the host does for the running execution.

use super::Interface;
use crate::execution::{self, CallError, Running};
use crate::files::{FileError, NodeId, TREE};
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
            _ => "payload and answer have to be in a file, by its inode number",
        };
        Self::Refused(reason.to_string())
    }
}

pub(super) fn link(interface: &mut Interface<'_>) -> wasmtime::Result<()> {
    interface.func_wrap(
        "call",
        |context: Context<'_>, (name, scratch): (String, u64)| {
            Ok((ask(&context.data().execution, name, scratch),))
        },
    )
}

/// The file is open meanwhile, so that its number stays its own.
fn ask(running: &Running, name: String, scratch: u64) -> Result<(), HostCallError> {
    let node = NodeId::from_number(scratch).ok_or(FileError::Invalid)?;
    let payload = read(node)?;
    TREE.get().open(node)?;
    let answer = execution::ask(running, name, &payload);
    drop(payload);
    let written = answer
        .map_err(Into::into)
        .and_then(|answer| Ok(write(node, &answer)?));
    TREE.get().close(node);
    written
}

fn read(node: NodeId) -> Result<Vec<u8>, HostCallError> {
    let tree = TREE.get();
    if tree.status(node)?.bytes > MAX_CALL_BYTES as u64 {
        let reason = "a host call carries at most 16 MiB";
        return Err(HostCallError::Refused(reason.to_string()));
    }
    Ok(tree.read(node, 0, MAX_CALL_BYTES)?)
}

fn write(node: NodeId, bytes: &[u8]) -> Result<(), FileError> {
    let mut tree = TREE.get();
    tree.resize(node, 0)?;
    tree.write(node, 0, bytes)
}
