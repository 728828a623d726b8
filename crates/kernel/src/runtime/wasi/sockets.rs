//! `wasi:sockets`: refused. A socket never comes to be, so nothing else can be called.

use super::Wasi;
use super::error::NetworkError;
use crate::runtime::state::{Context, forget};
use alloc::string::String;
use wasmtime::component::{ComponentType, Lift, Lower, Resource, ResourceType};

pub(super) struct Network;
pub(super) struct TcpSocket;
pub(super) struct UdpSocket;
pub(super) struct Addresses;

#[derive(Clone, Copy, ComponentType, Lift, Lower)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "made by the component")]
enum Family {
    #[component(name = "ipv4")]
    V4,
    #[component(name = "ipv6")]
    V6,
}

pub(super) fn link(wasi: &mut Wasi<'_>) -> wasmtime::Result<()> {
    wasi.interface("sockets/network")?.resource(
        "network",
        ResourceType::host::<Network>(),
        |mut context, handle| forget::<Network>(&mut context, handle).map(|_| ()),
    )?;
    wasi.interface("sockets/instance-network")?
        .func_wrap("instance-network", |mut context: Context<'_>, ()| {
            Ok((context.data_mut().table.push(Network)?,))
        })?;
    wasi.interface("sockets/tcp-create-socket")?.func_wrap(
        "create-tcp-socket",
        |_: Context<'_>, (_,): (Family,)| {
            Ok((Err::<Resource<TcpSocket>, _>(NetworkError::AccessDenied),))
        },
    )?;
    wasi.interface("sockets/udp-create-socket")?.func_wrap(
        "create-udp-socket",
        |_: Context<'_>, (_,): (Family,)| {
            Ok((Err::<Resource<UdpSocket>, _>(NetworkError::AccessDenied),))
        },
    )?;
    wasi.interface("sockets/ip-name-lookup")?.func_wrap(
        "resolve-addresses",
        |_: Context<'_>, (_, _): (Resource<Network>, String)| {
            Ok((Err::<Resource<Addresses>, _>(NetworkError::AccessDenied),))
        },
    )
}
