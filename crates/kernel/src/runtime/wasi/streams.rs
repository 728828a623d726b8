//! `wasi:io/streams`: standard streams and files. Nothing here ever blocks for long: files
//! are memory, and output waits in the channel.

use super::Wasi;
use super::io::{IoError, Pollable};
use crate::execution::{self, Read};
use crate::files::{FileError, NodeId, TREE};
use crate::runtime::interrupt;
use crate::runtime::state::{Context, forget};
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use ukernel_abi::message::Stream;
use wasmtime::component::{ComponentType, Lift, Lower, Resource, ResourceType};

/// Most bytes moved by one call.
const MAX_BYTES: u64 = 256 << 10;

/// `wasi:io/streams.input-stream`.
pub(super) enum InputStream {
    /// Standard input of the execution.
    Standard,
    /// A file, and where in it.
    File(NodeId, u64),
}

/// `wasi:io/streams.output-stream`.
pub(super) enum OutputStream {
    /// Standard output or error.
    Standard(Stream),
    /// A file, and where in it.
    File(NodeId, u64),
    /// The end of a file.
    Append(NodeId),
}

/// `wasi:io/streams.stream-error`.
#[derive(ComponentType, Lift, Lower)]
#[component(variant)]
enum StreamError {
    #[component(name = "last-operation-failed")]
    Failed(Resource<IoError>),
    #[component(name = "closed")]
    Closed,
}

type StreamResult<T> = wasmtime::Result<(Result<T, StreamError>,)>;

fn failed<T>(context: &mut Context<'_>, error: FileError) -> StreamResult<T> {
    let error = context
        .data_mut()
        .table
        .push(IoError(format!("{error:?}")))?;
    Ok((Err(StreamError::Failed(error)),))
}

/// Reads what is there, without waiting.
fn read(context: Context<'_>, arguments: (Resource<InputStream>, u64)) -> StreamResult<Vec<u8>> {
    read_from(context, arguments, false)
}

/// Reads, waiting for standard input.
fn blocking_read(
    context: Context<'_>,
    arguments: (Resource<InputStream>, u64),
) -> StreamResult<Vec<u8>> {
    read_from(context, arguments, true)
}

fn read_from(
    mut context: Context<'_>,
    (stream, length): (Resource<InputStream>, u64),
    waits: bool,
) -> StreamResult<Vec<u8>> {
    let running = context.data().execution.clone();
    let bytes = match context.data_mut().table.get_mut(&stream)? {
        InputStream::Standard => {
            let most = length.min(MAX_BYTES) as usize;
            let read = if waits {
                execution::read_input(&running, most)
            } else {
                execution::want_input(&running);
                running.get().input.read(most)
            };
            return Ok((match read {
                Read::Bytes(bytes) => Ok(bytes),
                Read::End => Err(StreamError::Closed),
                // The runtime finds a signal tripped and nothing read.
                Read::Wait if waits || running.get().is_interrupted() => {
                    interrupt::trip();
                    Err(StreamError::Closed)
                }
                Read::Wait => Ok(Vec::new()),
            },));
        }
        InputStream::File(node, offset) => {
            let bytes = TREE
                .get()
                .read(*node, *offset, length.min(MAX_BYTES) as usize);
            if let Ok(bytes) = &bytes {
                *offset += bytes.len() as u64;
            }
            bytes
        }
    };
    match bytes {
        Ok(bytes) if bytes.is_empty() && length > 0 => Ok((Err(StreamError::Closed),)),
        Ok(bytes) => Ok((Ok(bytes),)),
        Err(error) => failed(&mut context, error),
    }
}

fn write(
    mut context: Context<'_>,
    (stream, bytes): (Resource<OutputStream>, Vec<u8>),
) -> StreamResult<()> {
    let running = context.data().execution.clone();
    let written = match context.data_mut().table.get_mut(&stream)? {
        OutputStream::Standard(which) => {
            execution::print(&running, *which, &bytes);
            Ok(())
        }
        OutputStream::File(node, offset) => {
            let written = TREE.get().write(*node, *offset, &bytes);
            if written.is_ok() {
                *offset += bytes.len() as u64;
            }
            written
        }
        OutputStream::Append(node) => {
            let mut tree = TREE.get();
            tree.status(*node)
                .and_then(|status| tree.write(*node, status.bytes, &bytes))
        }
    };
    execution::report_growth(&running);
    match written {
        Ok(()) => Ok((Ok(()),)),
        Err(error) => failed(&mut context, error),
    }
}

fn write_zeroes(
    context: Context<'_>,
    (stream, length): (Resource<OutputStream>, u64),
) -> StreamResult<()> {
    write(context, (stream, vec![0; length.min(MAX_BYTES) as usize]))
}

fn flush(_: Context<'_>, (_,): (Resource<OutputStream>,)) -> StreamResult<()> {
    Ok((Ok(()),))
}

pub(super) fn link(wasi: &mut Wasi<'_>) -> wasmtime::Result<()> {
    let mut streams = wasi.interface("io/streams")?;
    streams.resource(
        "input-stream",
        ResourceType::host::<InputStream>(),
        |mut context, handle| {
            if let InputStream::File(node, _) = forget::<InputStream>(&mut context, handle)? {
                TREE.get().close(node);
            }
            Ok(())
        },
    )?;
    streams.resource(
        "output-stream",
        ResourceType::host::<OutputStream>(),
        |mut context, handle| {
            match forget::<OutputStream>(&mut context, handle)? {
                OutputStream::File(node, _) | OutputStream::Append(node) => TREE.get().close(node),
                OutputStream::Standard(_) => {}
            }
            Ok(())
        },
    )?;
    streams.func_wrap("[method]input-stream.read", read)?;
    streams.func_wrap("[method]input-stream.blocking-read", blocking_read)?;
    streams.func_wrap(
        "[method]input-stream.subscribe",
        |mut context: Context<'_>, (stream,): (Resource<InputStream>,)| {
            let table = &mut context.data_mut().table;
            let pollable = match table.get(&stream)? {
                InputStream::Standard => Pollable::Input,
                InputStream::File(..) => Pollable::Ready,
            };
            Ok((table.push(pollable)?,))
        },
    )?;
    streams.func_wrap(
        "[method]output-stream.check-write",
        |_: Context<'_>, (_,): (Resource<OutputStream>,)| Ok((Ok::<u64, StreamError>(MAX_BYTES),)),
    )?;
    streams.func_wrap("[method]output-stream.write", write)?;
    streams.func_wrap("[method]output-stream.blocking-write-and-flush", write)?;
    streams.func_wrap("[method]output-stream.write-zeroes", write_zeroes)?;
    streams.func_wrap(
        "[method]output-stream.blocking-write-zeroes-and-flush",
        write_zeroes,
    )?;
    streams.func_wrap("[method]output-stream.flush", flush)?;
    streams.func_wrap("[method]output-stream.blocking-flush", flush)?;
    streams.func_wrap(
        "[method]output-stream.subscribe",
        |mut context: Context<'_>, (_,): (Resource<OutputStream>,)| {
            Ok((context.data_mut().table.push(Pollable::Ready)?,))
        },
    )
}
