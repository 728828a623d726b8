//! `io`: files, poll, the monotonic clock.

use super::{AbiError, Interface, ipc};
use crate::execution::Running;
use crate::files::{Kind, NodeId, TREE, Tree};
use crate::runtime::interrupt;
use crate::runtime::state::{Context, forget};
use crate::{clock, task};
use alloc::string::String;
use alloc::vec::Vec;
use ukernel_abi::message::MAX_CHUNK_BYTES;
use wasmtime::component::{ComponentType, Lift, Lower, Resource, ResourceType, flags};

/// Most things waited for at once.
const MAX_INTERESTS: usize = 1024;

flags! {
    OpenFlags {
        #[component(name = "read")]
        const READ;
        #[component(name = "write")]
        const WRITE;
        #[component(name = "create")]
        const CREATE;
        #[component(name = "truncate")]
        const TRUNCATE;
        #[component(name = "append")]
        const APPEND;
    }
}

/// `io.file`: a node, where in it, and what may be done.
struct File {
    node: NodeId,
    offset: u64,
    flags: OpenFlags,
}

#[derive(Clone, Copy, ComponentType, Lift, Lower)]
#[component(variant)]
enum Interest {
    #[component(name = "deadline")]
    Deadline(u64),
    #[component(name = "channel")]
    Channel(u32),
}

impl Interest {
    fn is_ready(self) -> bool {
        match self {
            Self::Deadline(at) => clock::monotonic_ns() >= at,
            Self::Channel(channel) => ipc::is_ready(channel),
        }
    }
}

pub(super) fn link(interface: &mut Interface<'_>) -> wasmtime::Result<()> {
    interface.resource(
        "file",
        ResourceType::host::<File>(),
        |mut context, handle| {
            let file = forget::<File>(&mut context, handle)?;
            TREE.get().close(file.node);
            Ok(())
        },
    )?;
    interface.func_wrap(
        "open",
        |mut context: Context<'_>, (path, flags): (String, OpenFlags)| {
            Ok((match open(&path, flags) {
                Ok(file) => Ok(context.data_mut().table.push(file)?),
                Err(error) => Err(error),
            },))
        },
    )?;
    interface.func_wrap(
        "[method]file.read",
        |mut context: Context<'_>, (file, length): (Resource<File>, u32)| {
            Ok((read(context.data_mut().table.get_mut(&file)?, length),))
        },
    )?;
    interface.func_wrap(
        "[method]file.write",
        |mut context: Context<'_>, (file, bytes): (Resource<File>, Vec<u8>)| {
            Ok((write(context.data_mut().table.get_mut(&file)?, &bytes),))
        },
    )?;
    interface.func_wrap(
        "poll",
        |context: Context<'_>, (interests,): (Vec<Interest>,)| {
            Ok((poll(&context.data().execution, &interests),))
        },
    )?;
    interface.func_wrap("now", |_: Context<'_>, ()| Ok((clock::monotonic_ns(),)))?;
    interface.func_wrap("alarm", |context: Context<'_>, (after_ns,): (u64,)| {
        Ok((context.data().is_first && interrupt::set_alarm(after_ns),))
    })
}

fn open(path: &str, flags: OpenFlags) -> Result<File, AbiError> {
    if !path.starts_with('/') {
        return Err(AbiError::Invalid);
    }
    let mut tree = TREE.get();
    let node = if flags.contains(OpenFlags::CREATE) {
        tree.make_file(Tree::ROOT, path, false)?
    } else {
        tree.find(Tree::ROOT, path, true)?
    };
    if tree.status(node)?.kind == Kind::Directory {
        return Err(AbiError::IsDirectory);
    }
    if flags.contains(OpenFlags::TRUNCATE) && flags.contains(OpenFlags::WRITE) {
        tree.resize(node, 0)?;
    }
    tree.open(node)?;
    Ok(File {
        node,
        offset: 0,
        flags,
    })
}

fn read(file: &mut File, length: u32) -> Result<Vec<u8>, AbiError> {
    if !file.flags.contains(OpenFlags::READ) {
        return Err(AbiError::Denied);
    }
    let bytes = TREE.get().read(
        file.node,
        file.offset,
        (length as usize).min(MAX_CHUNK_BYTES),
    )?;
    file.offset += bytes.len() as u64;
    Ok(bytes)
}

fn write(file: &mut File, bytes: &[u8]) -> Result<u32, AbiError> {
    if !file.flags.contains(OpenFlags::WRITE) {
        return Err(AbiError::Denied);
    }
    let mut tree = TREE.get();
    if file.flags.contains(OpenFlags::APPEND) {
        file.offset = tree.status(file.node)?.bytes;
    }
    tree.write(file.node, file.offset, bytes)?;
    file.offset += bytes.len() as u64;
    u32::try_from(bytes.len()).map_err(|_| AbiError::Limit)
}

fn poll(running: &Running, interests: &[Interest]) -> Result<Vec<u32>, AbiError> {
    if interests.len() > MAX_INTERESTS {
        return Err(AbiError::Limit);
    }
    let deadline = interests
        .iter()
        .filter_map(|interest| match interest {
            Interest::Deadline(at) => Some(*at),
            Interest::Channel(_) => None,
        })
        .min();
    task::wait_until(deadline, || {
        running.get().is_interrupted() || interests.iter().any(|interest| interest.is_ready())
    });
    if running.get().is_interrupted() {
        return Err(AbiError::Interrupted);
    }
    Ok((0u32..)
        .zip(interests)
        .filter(|(_, interest)| interest.is_ready())
        .map(|(index, _)| index)
        .collect())
}
