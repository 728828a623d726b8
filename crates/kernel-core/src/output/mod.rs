//! What an execution prints: sent up to a bound, whole in a file beyond it.
//!
//! ```text
//!            more than the bound               tree full, or no name
//!   INLINE ──────────────────────> FILE ───────────────────────────> FULL
//!   (kept, so that the file can be whole)                  (counted and dropped)
//! ```
//! A program never hears of any of it: printing does not fail.

#[cfg(test)]
mod model;

use crate::files::{BLOCK_BYTES, FileError, NodeId, Tree};
use crate::surroundings::{Surroundings, sparing};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use ukernel_abi::message::{SpilledOutput, Stream};

/// The most that is kept of one stream; a finite bound above it is lowered to it.
const MAX_KEPT_BYTES: u64 = 1 << 20;

/// What the kept bytes grow by: not doubled, the kernel's heap being small.
const KEPT_STEP_BYTES: usize = 64 << 10;

/// Names tried when programs have folders where the file should be.
const NAMES: u32 = 8;

/// The output of one execution.
pub struct Output {
    execution: u32,
    /// Bytes of each stream that are sent; `None`: all.
    inline_bytes: Option<u64>,
    stdout: Spool,
    stderr: Spool,
}

/// One stream.
struct Spool {
    stream: Stream,
    /// Bytes the program wrote.
    bytes: u64,
    state: State,
}

enum State {
    /// Everything was sent, and is here.
    Inline(Vec<u8>),
    /// Everything is in a file.
    File {
        path: String,
        node: NodeId,
        kept_bytes: u64,
        /// Nothing more goes in: the tree was full once, and a gap would be worse.
        is_full: bool,
    },
    /// There is no file.
    Lost { path: String },
}

impl Output {
    /// The output of the execution the host calls `execution`, of which so many bytes of each
    /// stream are sent.
    #[must_use]
    pub fn new(execution: u32, inline_output_bytes: u64) -> Self {
        let is_bounded = inline_output_bytes != u64::MAX;
        Self {
            execution,
            inline_bytes: is_bounded.then(|| inline_output_bytes.min(MAX_KEPT_BYTES)),
            stdout: Spool::new(Stream::Stdout),
            stderr: Spool::new(Stream::Stderr),
        }
    }

    /// Takes note of what the program wrote to `stream`; how many of its first bytes are to
    /// be sent.
    pub fn write(&mut self, tree: &mut Tree, stream: Stream, bytes: &[u8]) -> usize {
        let Some(limit) = self.inline_bytes else {
            return bytes.len();
        };
        let spool = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        spool.write(tree, self.execution, limit, bytes)
    }

    /// The streams that wrote more than was sent. Lets go of their files.
    pub fn finish(self, tree: &mut Tree) -> Vec<SpilledOutput> {
        [self.stdout, self.stderr]
            .into_iter()
            .filter_map(|spool| spool.finish(tree, self.inline_bytes))
            .collect()
    }
}

impl Spool {
    fn new(stream: Stream) -> Self {
        Self {
            stream,
            bytes: 0,
            state: State::Inline(Vec::new()),
        }
    }

    fn write(&mut self, tree: &mut Tree, execution: u32, limit: u64, bytes: &[u8]) -> usize {
        let room = usize::try_from(limit.saturating_sub(self.bytes)).unwrap_or(usize::MAX);
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        let sent = match &mut self.state {
            State::Inline(kept) => {
                let sent = room.min(bytes.len());
                if !keep(kept, &bytes[..sent], tree.surroundings) {
                    // Without its beginning the file would not be the stream.
                    self.state = State::Lost {
                        path: path(execution, self.stream, 0),
                    };
                    return sent;
                }
                if sent == bytes.len() {
                    return sent;
                }
                let kept = core::mem::take(kept);
                self.state = spill(tree, execution, self.stream);
                self.state.append(tree, &kept);
                sent
            }
            State::File { .. } => 0,
            State::Lost { .. } => return room.min(bytes.len()),
        };
        self.state.append(tree, &bytes[sent..]);
        sent
    }

    fn finish(self, tree: &mut Tree, inline_bytes: Option<u64>) -> Option<SpilledOutput> {
        if self.bytes <= inline_bytes? {
            return None;
        }
        let (path, kept_bytes) = match self.state {
            State::Inline(_) => return None,
            State::Lost { path } => (path, 0),
            State::File {
                path,
                node,
                kept_bytes,
                ..
            } => {
                // The program may have cut the file off, or removed its name.
                let is_there = tree.find(Tree::ROOT, &path, false) == Ok(node);
                let length = tree.status(node).map_or(0, |status| status.bytes);
                tree.close(node);
                (path, if is_there { kept_bytes.min(length) } else { 0 })
            }
        };
        Some(SpilledOutput {
            stream: self.stream,
            path,
            bytes: self.bytes,
            kept_bytes,
        })
    }
}

impl State {
    /// Adds to the file as much as fits.
    fn append(&mut self, tree: &mut Tree, mut bytes: &[u8]) {
        let State::File {
            node,
            kept_bytes,
            is_full,
            ..
        } = self
        else {
            return;
        };
        while !bytes.is_empty() && !*is_full {
            // Block by block: a write that does not fit writes nothing.
            let into_block = (*kept_bytes % BLOCK_BYTES as u64) as usize;
            let (piece, rest) = bytes.split_at(bytes.len().min(BLOCK_BYTES - into_block));
            if tree.write(*node, *kept_bytes, piece).is_ok() {
                *kept_bytes += piece.len() as u64;
                bytes = rest;
            } else {
                *is_full = true;
            }
        }
    }
}

/// Keeps `bytes`; whether there was memory for it.
fn keep(kept: &mut Vec<u8>, bytes: &[u8], surroundings: &dyn Surroundings) -> bool {
    if kept.capacity() - kept.len() < bytes.len() {
        let step = bytes.len().max(KEPT_STEP_BYTES);
        if sparing(surroundings, || kept.try_reserve_exact(step)).is_err() {
            return false;
        }
    }
    kept.extend_from_slice(bytes);
    true
}

fn path(execution: u32, stream: Stream, number: u32) -> String {
    let stream = match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    };
    match number {
        0 => format!("/tmp/output-{execution}.{stream}"),
        _ => format!("/tmp/output-{execution}.{number}.{stream}"),
    }
}

/// Makes the file of a stream, in place of any other file of its name.
fn spill(tree: &mut Tree, execution: u32, stream: Stream) -> State {
    for number in 0..NAMES {
        let path = path(execution, stream, number);
        match create(tree, &path) {
            Ok(node) => {
                return State::File {
                    path,
                    node,
                    kept_bytes: 0,
                    is_full: false,
                };
            }
            Err(FileError::IsDirectory) => {}
            Err(_) => break,
        }
    }
    State::Lost {
        path: path(execution, stream, 0),
    }
}

fn create(tree: &mut Tree, path: &str) -> Result<NodeId, FileError> {
    tree.make_folders_above(path)?;
    match tree.unlink(Tree::ROOT, path) {
        Ok(()) | Err(FileError::NotFound) => {}
        Err(error) => return Err(error),
    }
    let node = tree.make_file(Tree::ROOT, path, true)?;
    tree.open(node)?;
    Ok(node)
}
