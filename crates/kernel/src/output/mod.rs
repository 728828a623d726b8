//! What executions print, on its way to the host.

mod spool;

use crate::channel;
use crate::execution::Execution;
use crate::files::TREE;
use crate::local::Local;
use alloc::vec::Vec;
use spool::Output;
use ukernel_abi::message::{SpilledOutput, Stream};

/// Of the execution that runs.
static OUTPUT: Local<Option<(Execution, Output)>> = Local::new(None);

/// An execution begins, of which so many bytes of each stream are sent.
pub(crate) fn begin(execution: Execution, inline_output_bytes: u64) {
    let output = Output::new(execution.id, inline_output_bytes);
    *OUTPUT.get() = Some((execution, output));
}

/// A task printed. What a task prints after its execution ended is dropped: nobody waits
/// for it any more.
pub(crate) fn print(execution: Execution, stream: Stream, bytes: &[u8]) {
    let sent = match OUTPUT.get().as_mut() {
        Some((running, output)) if *running == execution => {
            output.write(&mut TREE.get(), stream, bytes)
        }
        _ => 0,
    };
    channel::output(execution.id, stream, &bytes[..sent]);
}

/// The execution ended. The streams that wrote more than was sent.
pub(crate) fn finish() -> Vec<SpilledOutput> {
    let output = OUTPUT.get().take();
    output.map_or_else(Vec::new, |(_, output)| output.finish(&mut TREE.get()))
}
