//! `wasi:cli`: arguments, exit, the standard streams. There are no terminals.

use super::Wasi;
use super::streams::{InputStream, OutputStream};
use crate::runtime::state::{Context, ExitNow};
use alloc::string::String;
use alloc::vec::Vec;
use ukernel_abi::message::Stream;
use wasmtime::component::Resource;

/// A terminal, of which there is none.
pub(super) struct Terminal;

/// The environment every program sees.
const ENVIRONMENT: [(&str, &str); 3] = [("HOME", "/home"), ("TMPDIR", "/tmp"), ("LANG", "C.UTF-8")];

pub(super) fn link(wasi: &mut Wasi<'_>) -> wasmtime::Result<()> {
    let mut environment = wasi.interface("cli/environment")?;
    environment.func_wrap("get-environment", |_: Context<'_>, ()| {
        let pairs: Vec<(String, String)> = ENVIRONMENT
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect();
        Ok((pairs,))
    })?;
    environment.func_wrap("get-arguments", |context: Context<'_>, ()| {
        Ok((context.data().arguments.clone(),))
    })?;
    environment.func_wrap("initial-cwd", |_: Context<'_>, ()| {
        Ok((Some(String::from("/")),))
    })?;

    let mut exit = wasi.interface("cli/exit")?;
    exit.func_wrap("exit", |_: Context<'_>, (status,): (Result<(), ()>,)| {
        let code = i32::from(status.is_err());
        Err::<(), _>(wasmtime::Error::from(ExitNow(code)))
    })?;
    exit.func_wrap("exit-with-code", |_: Context<'_>, (code,): (u8,)| {
        Err::<(), _>(wasmtime::Error::from(ExitNow(code.into())))
    })?;

    wasi.interface("cli/stdin")?
        .func_wrap("get-stdin", |mut context: Context<'_>, ()| {
            Ok((context.data_mut().table.push(InputStream::Standard)?,))
        })?;
    wasi.interface("cli/stdout")?
        .func_wrap("get-stdout", |mut context: Context<'_>, ()| {
            Ok((context
                .data_mut()
                .table
                .push(OutputStream::Standard(Stream::Stdout))?,))
        })?;
    wasi.interface("cli/stderr")?
        .func_wrap("get-stderr", |mut context: Context<'_>, ()| {
            Ok((context
                .data_mut()
                .table
                .push(OutputStream::Standard(Stream::Stderr))?,))
        })?;

    for (interface, function) in [
        ("cli/terminal-stdin", "get-terminal-stdin"),
        ("cli/terminal-stdout", "get-terminal-stdout"),
        ("cli/terminal-stderr", "get-terminal-stderr"),
    ] {
        wasi.interface(interface)?
            .func_wrap(function, |_: Context<'_>, ()| {
                Ok((None::<Resource<Terminal>>,))
            })?;
    }
    Ok(())
}
