//! `ipc`: named message channels between the tasks of one VM.

use super::{AbiError, Interface};
use crate::local::Local;
use crate::runtime::state::Context;
use crate::task;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use ukernel_abi::message::MAX_CHUNK_BYTES;

/// Messages that may wait in one channel.
const MAX_WAITING: usize = 64;

/// Channels there may be at once.
const MAX_CHANNELS: usize = 64;

/// Longest name of a channel, in bytes.
const MAX_NAME_BYTES: usize = 128;

struct Channel {
    name: String,
    handles: u32,
    messages: VecDeque<Vec<u8>>,
}

struct Channels {
    /// By handle number, which is never used again.
    channels: BTreeMap<u32, Channel>,
    next: u32,
}

static CHANNELS: Local<Channels> = Local::new(Channels {
    channels: BTreeMap::new(),
    next: 1,
});

/// Whether a receive would give something: a message, or the news that there is no channel.
pub(super) fn is_ready(handle: u32) -> bool {
    CHANNELS
        .get()
        .channels
        .get(&handle)
        .is_none_or(|channel| !channel.messages.is_empty())
}

pub(super) fn link(interface: &mut Interface<'_>) -> wasmtime::Result<()> {
    interface.func_wrap("channel-create", |_: Context<'_>, (name,): (String,)| {
        Ok((create(name),))
    })?;
    interface.func_wrap(
        "send",
        |_: Context<'_>, (handle, message): (u32, Vec<u8>)| Ok((send(handle, message),)),
    )?;
    interface.func_wrap("recv", |_: Context<'_>, (handle,): (u32,)| {
        let mut channels = CHANNELS.get();
        let channel = channels.channels.get_mut(&handle).ok_or(AbiError::NotFound);
        let message = channel.map(|channel| channel.messages.pop_front());
        drop(channels);
        // A sender may be waiting for room.
        task::wake_all();
        Ok((message,))
    })?;
    interface.func_wrap("close", |_: Context<'_>, (handle,): (u32,)| {
        close(handle);
        Ok(())
    })
}

fn create(name: String) -> Result<u32, AbiError> {
    if name.is_empty() || name.len() > MAX_NAME_BYTES {
        return Err(AbiError::Invalid);
    }
    let mut channels = CHANNELS.get();
    if let Some((handle, channel)) = channels
        .channels
        .iter_mut()
        .find(|(_, channel)| channel.name == name)
    {
        channel.handles += 1;
        return Ok(*handle);
    }
    if channels.channels.len() >= MAX_CHANNELS {
        return Err(AbiError::Limit);
    }
    let handle = channels.next;
    channels.next = handle.checked_add(1).ok_or(AbiError::Limit)?;
    channels.channels.insert(
        handle,
        Channel {
            name,
            handles: 1,
            messages: VecDeque::new(),
        },
    );
    Ok(handle)
}

fn send(handle: u32, message: Vec<u8>) -> Result<(), AbiError> {
    if message.len() > MAX_CHUNK_BYTES {
        return Err(AbiError::Limit);
    }
    let mut channels = CHANNELS.get();
    let channel = channels
        .channels
        .get_mut(&handle)
        .ok_or(AbiError::NotFound)?;
    if channel.messages.len() >= MAX_WAITING {
        return Err(AbiError::Limit);
    }
    channel.messages.push_back(message);
    drop(channels);
    task::wake_all();
    Ok(())
}

fn close(handle: u32) {
    let mut channels = CHANNELS.get();
    if let Some(channel) = channels.channels.get_mut(&handle) {
        channel.handles -= 1;
        if channel.handles == 0 {
            channels.channels.remove(&handle);
        }
    }
    drop(channels);
    task::wake_all();
}
