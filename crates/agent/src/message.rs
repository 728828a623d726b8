//! Messages between the agent and user code: a header in JSON and bytes, each with its length before both.

use std::io::{Error, Read, Result};
use std::os::unix::net::UnixStream;
use ukernel_abi::message::MAX_CALL_BYTES;

/// Longest header: user code writes them.
const MAX_HEADER_BYTES: usize = 1 << 20;

/// What comes before header and payload: their lengths, 32 bits each.
pub fn lengths(header: &[u8], payload: &[u8]) -> Result<[u8; 8]> {
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).map_err(Error::other);
    let mut lengths = [0; 8];
    lengths[..4].copy_from_slice(&length(header)?.to_le_bytes());
    lengths[4..].copy_from_slice(&length(payload)?.to_le_bytes());
    Ok(lengths)
}

/// Reads a header, and the length of the payload after it.
pub fn read_header(from: &UnixStream) -> Result<(Vec<u8>, usize)> {
    let mut lengths = [0; 8];
    let mut stream = from;
    stream.read_exact(&mut lengths)?;
    let [a, b, c, d, e, f, g, h] = lengths;
    let header = bounded(u32::from_le_bytes([a, b, c, d]), MAX_HEADER_BYTES)?;
    let payload = bounded(u32::from_le_bytes([e, f, g, h]), MAX_CALL_BYTES)?;
    Ok((read(from, header)?, payload))
}

/// Reads so many bytes.
pub fn read(mut from: &UnixStream, length: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn bounded(length: u32, most: usize) -> Result<usize> {
    let length = usize::try_from(length).map_err(Error::other)?;
    if length > most {
        return Err(Error::other("a message is longer than any may be"));
    }
    Ok(length)
}
