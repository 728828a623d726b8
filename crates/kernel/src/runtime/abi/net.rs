//! `net`: denied, as the WIT package says, until a VM is granted a network.

use super::{AbiError, Interface};
use crate::runtime::state::Context;
use alloc::string::String;
use alloc::vec::Vec;
use wasmtime::component::{ComponentType, Lift, Lower};

#[derive(Clone, Copy, ComponentType, Lift, Lower)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "made by the component")]
enum Transport {
    #[component(name = "tcp")]
    Tcp,
    #[component(name = "udp")]
    Udp,
}

const DENIED: AbiError = AbiError::Denied;

pub(super) fn link(interface: &mut Interface<'_>) -> wasmtime::Result<()> {
    interface.func_wrap("socket", |_: Context<'_>, (_,): (Transport,)| {
        Ok((Err::<u32, _>(DENIED),))
    })?;
    interface.func_wrap("bind", |_: Context<'_>, (_, _): (u32, u16)| {
        Ok((Err::<(), _>(DENIED),))
    })?;
    interface.func_wrap(
        "connect",
        |_: Context<'_>, (_, _, _): (u32, String, u16)| Ok((Err::<(), _>(DENIED),)),
    )?;
    interface.func_wrap("send", |_: Context<'_>, (_, _): (u32, Vec<u8>)| {
        Ok((Err::<u32, _>(DENIED),))
    })?;
    interface.func_wrap("recv", |_: Context<'_>, (_, _): (u32, u32)| {
        Ok((Err::<Vec<u8>, _>(DENIED),))
    })?;
    interface.func_wrap("close", |_: Context<'_>, (_,): (u32,)| Ok(()))
}
