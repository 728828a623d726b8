//! `wasi:filesystem`: the file tree as descriptors. One folder is open from the start: `/`.

use super::Wasi;
use super::error::ErrorCode;
use super::filesystem_types::{
    Advice, DescriptorFlags, DescriptorType, DirectoryEntry, MetadataHash, NewTimestamp, OpenFlags,
    PathFlags, Stat,
};
use super::io::IoError;
use super::streams::{InputStream, OutputStream};
use crate::files::{FileError, Kind, NodeId, TREE, Tree};
use crate::runtime::state::{Context, forget};
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use wasmtime::component::{Resource, ResourceType};

/// Most bytes read by one call.
const MAX_READ_BYTES: u64 = 256 << 10;

/// `wasi:filesystem/types.descriptor`.
#[derive(Clone, Copy)]
pub(super) struct Descriptor {
    node: NodeId,
    flags: DescriptorFlags,
}

/// `wasi:filesystem/types.directory-entry-stream`: entries not given yet, last first.
pub(super) struct Entries(Vec<DirectoryEntry>);

type Handle = Resource<Descriptor>;
type FileResult<T> = wasmtime::Result<(Result<T, ErrorCode>,)>;

fn get(context: &Context<'_>, handle: &Handle) -> wasmtime::Result<Descriptor> {
    Ok(*context.data().table.get(handle)?)
}

/// What the tree says, in WASI's words.
fn answer<T>(result: Result<T, FileError>) -> FileResult<T> {
    Ok((result.map_err(ErrorCode::from),))
}

fn open_at(
    mut context: Context<'_>,
    (handle, path_flags, path, open_flags, flags): (
        Handle,
        PathFlags,
        String,
        OpenFlags,
        DescriptorFlags,
    ),
) -> FileResult<Handle> {
    let folder = get(&context, &handle)?.node;
    let follow = path_flags.contains(PathFlags::FOLLOW);
    match open_node(folder, &path, follow, open_flags, flags) {
        Ok(node) => Ok((Ok(context
            .data_mut()
            .table
            .push(Descriptor { node, flags })?),)),
        Err(error) => Ok((Err(error),)),
    }
}

fn open_node(
    folder: NodeId,
    path: &str,
    follow: bool,
    open: OpenFlags,
    flags: DescriptorFlags,
) -> Result<NodeId, ErrorCode> {
    let mut tree = TREE.get();
    let node = if open.contains(OpenFlags::CREATE) && !open.contains(OpenFlags::DIRECTORY) {
        tree.make_file(folder, path, open.contains(OpenFlags::EXCLUSIVE))?
    } else {
        tree.find(folder, path, follow)?
    };
    let kind = tree.status(node)?.kind;
    match kind {
        Kind::Link => return Err(ErrorCode::Loop),
        Kind::File if open.contains(OpenFlags::DIRECTORY) => return Err(ErrorCode::NotDirectory),
        Kind::Directory if flags.contains(DescriptorFlags::WRITE) => {
            return Err(ErrorCode::IsDirectory);
        }
        _ => {}
    }
    if open.contains(OpenFlags::TRUNCATE) {
        tree.resize(node, 0)?;
    }
    tree.open(node)?;
    Ok(node)
}

fn read(
    context: Context<'_>,
    (handle, length, offset): (Handle, u64, u64),
) -> FileResult<(Vec<u8>, bool)> {
    let node = get(&context, &handle)?.node;
    let length = length.min(MAX_READ_BYTES) as usize;
    let tree = TREE.get();
    answer(tree.read(node, offset, length).and_then(|bytes| {
        let at_end = offset + bytes.len() as u64 >= tree.status(node)?.bytes;
        Ok((bytes, at_end))
    }))
}

fn write(context: Context<'_>, (handle, bytes, offset): (Handle, Vec<u8>, u64)) -> FileResult<u64> {
    let descriptor = get(&context, &handle)?;
    if !descriptor.flags.contains(DescriptorFlags::WRITE) {
        return Ok((Err(ErrorCode::BadDescriptor),));
    }
    answer(
        TREE.get()
            .write(descriptor.node, offset, &bytes)
            .map(|()| bytes.len() as u64),
    )
}

fn list(mut context: Context<'_>, (handle,): (Handle,)) -> FileResult<Resource<Entries>> {
    let node = get(&context, &handle)?.node;
    let entries = {
        let tree = TREE.get();
        tree.list(node).and_then(|names| {
            names
                .into_iter()
                .rev()
                .map(|(name, node)| {
                    Ok(DirectoryEntry {
                        kind: tree.status(node)?.kind.into(),
                        name,
                    })
                })
                .collect::<Result<Vec<_>, FileError>>()
        })
    };
    match entries {
        Ok(entries) => Ok((Ok(context.data_mut().table.push(Entries(entries))?),)),
        Err(error) => Ok((Err(error.into()),)),
    }
}

fn hash_of(node: Result<NodeId, FileError>) -> FileResult<MetadataHash> {
    answer(node.map(|node| MetadataHash {
        lower: node.number(),
        upper: 0,
    }))
}

fn find(folder: NodeId, flags: PathFlags, path: &str) -> Result<NodeId, FileError> {
    TREE.get()
        .find(folder, path, flags.contains(PathFlags::FOLLOW))
}

pub(super) fn link(wasi: &mut Wasi<'_>) -> wasmtime::Result<()> {
    let mut types = wasi.interface("filesystem/types")?;
    types.resource(
        "descriptor",
        ResourceType::host::<Descriptor>(),
        |mut context, handle| {
            let descriptor = forget::<Descriptor>(&mut context, handle)?;
            TREE.get().close(descriptor.node);
            Ok(())
        },
    )?;
    types.resource(
        "directory-entry-stream",
        ResourceType::host::<Entries>(),
        |mut context, handle| forget::<Entries>(&mut context, handle).map(|_| ()),
    )?;
    types.func_wrap("[method]descriptor.open-at", open_at)?;
    types.func_wrap("[method]descriptor.read", read)?;
    types.func_wrap("[method]descriptor.write", write)?;
    types.func_wrap("[method]descriptor.read-directory", list)?;
    types.func_wrap(
        "[method]directory-entry-stream.read-directory-entry",
        |mut context: Context<'_>, (entries,): (Resource<Entries>,)| {
            Ok((Ok::<_, ErrorCode>(
                context.data_mut().table.get_mut(&entries)?.0.pop(),
            ),))
        },
    )?;
    types.func_wrap(
        "[method]descriptor.read-via-stream",
        |mut context: Context<'_>,
         (handle, offset): (Handle, u64)|
         -> FileResult<Resource<InputStream>> {
            let node = get(&context, &handle)?.node;
            if let Err(error) = TREE.get().open(node) {
                return Ok((Err(error.into()),));
            }
            Ok((Ok(context
                .data_mut()
                .table
                .push(InputStream::File(node, offset))?),))
        },
    )?;
    types.func_wrap(
        "[method]descriptor.write-via-stream",
        |context: Context<'_>, (handle, offset): (Handle, u64)| {
            output(context, &handle, |node| OutputStream::File(node, offset))
        },
    )?;
    types.func_wrap(
        "[method]descriptor.append-via-stream",
        |context: Context<'_>, (handle,): (Handle,)| output(context, &handle, OutputStream::Append),
    )?;
    types.func_wrap(
        "[method]descriptor.advise",
        |_: Context<'_>, (_, _, _, _): (Handle, u64, u64, Advice)| Ok((Ok::<(), ErrorCode>(()),)),
    )?;
    for name in ["[method]descriptor.sync", "[method]descriptor.sync-data"] {
        types.func_wrap(name, |_: Context<'_>, (_,): (Handle,)| {
            Ok((Ok::<(), ErrorCode>(()),))
        })?;
    }
    link_status(&mut types)?;
    link_names(&mut types)?;
    wasi.interface("filesystem/preopens")?.func_wrap(
        "get-directories",
        |mut context: Context<'_>, ()| {
            let flags = DescriptorFlags::READ | DescriptorFlags::MUTATE_DIRECTORY;
            TREE.get()
                .open(Tree::ROOT)
                .map_err(|_| wasmtime::Error::msg("no file tree"))?;
            let root = context.data_mut().table.push(Descriptor {
                node: Tree::ROOT,
                flags,
            })?;
            Ok((vec![(root, "/".to_string())],))
        },
    )
}

fn output(
    mut context: Context<'_>,
    handle: &Handle,
    make: impl FnOnce(NodeId) -> OutputStream,
) -> FileResult<Resource<OutputStream>> {
    let descriptor = get(&context, handle)?;
    if !descriptor.flags.contains(DescriptorFlags::WRITE) {
        return Ok((Err(ErrorCode::BadDescriptor),));
    }
    if let Err(error) = TREE.get().open(descriptor.node) {
        return Ok((Err(error.into()),));
    }
    Ok((Ok(context.data_mut().table.push(make(descriptor.node))?),))
}

type Types<'a> = wasmtime::component::LinkerInstance<'a, crate::runtime::state::State>;

/// What is known about files, and changing it.
fn link_status(types: &mut Types<'_>) -> wasmtime::Result<()> {
    types.func_wrap(
        "[method]descriptor.get-flags",
        |context: Context<'_>, (handle,): (Handle,)| {
            Ok((Ok::<_, ErrorCode>(get(&context, &handle)?.flags),))
        },
    )?;
    types.func_wrap(
        "[method]descriptor.get-type",
        |context: Context<'_>, (handle,): (Handle,)| {
            let node = get(&context, &handle)?.node;
            answer(
                TREE.get()
                    .status(node)
                    .map(|status| DescriptorType::from(status.kind)),
            )
        },
    )?;
    types.func_wrap(
        "[method]descriptor.stat",
        |context: Context<'_>, (handle,): (Handle,)| {
            let node = get(&context, &handle)?.node;
            answer(TREE.get().status(node).map(Stat::from))
        },
    )?;
    types.func_wrap(
        "[method]descriptor.stat-at",
        |context: Context<'_>, (handle, flags, path): (Handle, PathFlags, String)| {
            let folder = get(&context, &handle)?.node;
            answer(
                find(folder, flags, &path)
                    .and_then(|node| TREE.get().status(node))
                    .map(Stat::from),
            )
        },
    )?;
    types.func_wrap(
        "[method]descriptor.set-size",
        |context: Context<'_>, (handle, bytes): (Handle, u64)| {
            let descriptor = get(&context, &handle)?;
            if !descriptor.flags.contains(DescriptorFlags::WRITE) {
                return Ok((Err(ErrorCode::BadDescriptor),));
            }
            answer(TREE.get().resize(descriptor.node, bytes))
        },
    )?;
    types.func_wrap(
        "[method]descriptor.set-times",
        |context: Context<'_>,
         (handle, accessed, modified): (Handle, NewTimestamp, NewTimestamp)| {
            let node = get(&context, &handle)?.node;
            answer(
                TREE.get()
                    .set_times(node, accessed.to_ns(), modified.to_ns()),
            )
        },
    )?;
    types.func_wrap(
        "[method]descriptor.set-times-at",
        |context: Context<'_>,
         (handle, flags, path, accessed, modified): (
            Handle,
            PathFlags,
            String,
            NewTimestamp,
            NewTimestamp,
        )| {
            let folder = get(&context, &handle)?.node;
            let found = find(folder, flags, &path);
            answer(found.and_then(|node| {
                TREE.get()
                    .set_times(node, accessed.to_ns(), modified.to_ns())
            }))
        },
    )?;
    types.func_wrap(
        "[method]descriptor.is-same-object",
        |context: Context<'_>, (one, other): (Handle, Handle)| {
            Ok((get(&context, &one)?.node == get(&context, &other)?.node,))
        },
    )?;
    types.func_wrap(
        "[method]descriptor.metadata-hash",
        |context: Context<'_>, (handle,): (Handle,)| hash_of(Ok(get(&context, &handle)?.node)),
    )?;
    types.func_wrap(
        "[method]descriptor.metadata-hash-at",
        |context: Context<'_>, (handle, flags, path): (Handle, PathFlags, String)| {
            let folder = get(&context, &handle)?.node;
            hash_of(find(folder, flags, &path))
        },
    )?;
    types.func_wrap(
        "filesystem-error-code",
        |_: Context<'_>, (_,): (Resource<IoError>,)| {
            // The only stream failure there is: the quota.
            Ok((Some(ErrorCode::InsufficientSpace),))
        },
    )
}

/// Making, renaming and removing names.
fn link_names(types: &mut Types<'_>) -> wasmtime::Result<()> {
    types.func_wrap(
        "[method]descriptor.create-directory-at",
        |context: Context<'_>, (handle, path): (Handle, String)| {
            let folder = get(&context, &handle)?.node;
            answer(TREE.get().make_folder(folder, &path).map(|_| ()))
        },
    )?;
    types.func_wrap(
        "[method]descriptor.remove-directory-at",
        |context: Context<'_>, (handle, path): (Handle, String)| {
            let folder = get(&context, &handle)?.node;
            answer(TREE.get().remove_folder(folder, &path))
        },
    )?;
    types.func_wrap(
        "[method]descriptor.unlink-file-at",
        |context: Context<'_>, (handle, path): (Handle, String)| {
            let folder = get(&context, &handle)?.node;
            answer(TREE.get().unlink(folder, &path))
        },
    )?;
    types.func_wrap(
        "[method]descriptor.rename-at",
        |context: Context<'_>, (handle, old, new_handle, new): (Handle, String, Handle, String)| {
            let from = get(&context, &handle)?.node;
            let to = get(&context, &new_handle)?.node;
            answer(TREE.get().rename(from, &old, to, &new))
        },
    )?;
    types.func_wrap(
        "[method]descriptor.link-at",
        |context: Context<'_>, (handle, flags, old, new_handle, new): (Handle, PathFlags, String, Handle, String)| {
            let from = get(&context, &handle)?.node;
            let to = get(&context, &new_handle)?.node;
            let node = find(from, flags, &old);
            answer(node.and_then(|node| TREE.get().add_name(node, to, &new)))
        },
    )?;
    types.func_wrap(
        "[method]descriptor.symlink-at",
        |context: Context<'_>, (handle, target, path): (Handle, String, String)| {
            let folder = get(&context, &handle)?.node;
            answer(TREE.get().make_link(folder, &path, &target))
        },
    )?;
    types.func_wrap(
        "[method]descriptor.readlink-at",
        |context: Context<'_>, (handle, path): (Handle, String)| {
            let folder = get(&context, &handle)?.node;
            let tree = TREE.get();
            answer(
                tree.find(folder, &path, false)
                    .and_then(|node| tree.read_link(node)),
            )
        },
    )
}
