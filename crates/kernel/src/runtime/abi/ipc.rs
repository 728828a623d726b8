//! `ipc`: named message channels between the tasks of one VM.

use super::{AbiError, Interface};
use crate::local::Local;
use crate::runtime::state::Context;
use crate::task;
use alloc::string::String;
use alloc::vec::Vec;
use ukernel_kernel_core::ipc::{Channels, IpcError};

static CHANNELS: Local<Channels> = Local::new(Channels::new());

impl From<IpcError> for AbiError {
    fn from(error: IpcError) -> Self {
        match error {
            IpcError::NotFound => Self::NotFound,
            IpcError::Invalid => Self::Invalid,
            IpcError::Limit => Self::Limit,
        }
    }
}

/// Whether a receive would give something.
pub(super) fn is_ready(handle: u32) -> bool {
    CHANNELS.get().is_ready(handle)
}

/// Does something to the channels; somebody may have waited for it.
fn change<R>(change: impl FnOnce(&mut Channels) -> R) -> R {
    let result = change(&mut CHANNELS.get());
    task::wake_all();
    result
}

pub(super) fn link(interface: &mut Interface<'_>) -> wasmtime::Result<()> {
    interface.func_wrap("channel-create", |_: Context<'_>, (name,): (String,)| {
        let created = CHANNELS.get().create(name);
        Ok((created.map_err(AbiError::from),))
    })?;
    interface.func_wrap(
        "send",
        |_: Context<'_>, (handle, message): (u32, Vec<u8>)| {
            let sent = change(|channels| channels.send(handle, message));
            Ok((sent.map_err(AbiError::from),))
        },
    )?;
    interface.func_wrap("recv", |_: Context<'_>, (handle,): (u32,)| {
        let message = change(|channels| channels.recv(handle));
        Ok((message.map_err(AbiError::from),))
    })?;
    interface.func_wrap("close", |_: Context<'_>, (handle,): (u32,)| {
        change(|channels| channels.close(handle));
        Ok(())
    })
}
