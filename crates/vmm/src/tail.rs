//! What a process wrote last to a stream: a pipe that is read when somebody wants to know.

use rustix::io::ioctl_fionbio;
use std::io::{PipeReader, PipeWriter, Read, Result};

/// Most bytes kept.
const TAIL_BYTES: usize = 8 << 10;

/// The reading end. Neither end waits: what does not fit the pipe is lost, so a process is
/// never held up by a log nobody reads. What fits is 64 KiB between two calls of [`Self::read`];
/// the last line of a process that is otherwise silent always does.
#[derive(Debug)]
pub struct Tail {
    pipe: PipeReader,
    bytes: Vec<u8>,
}

impl Tail {
    /// A pipe: its reading end, and what the process writes to.
    ///
    /// # Errors
    /// Those of pipe(2).
    pub fn new() -> Result<(Self, PipeWriter)> {
        let (pipe, writer) = std::io::pipe()?;
        ioctl_fionbio(&pipe, true)?;
        ioctl_fionbio(&writer, true)?;
        let bytes = Vec::new();
        Ok((Self { pipe, bytes }, writer))
    }

    /// The last bytes written, at most 8 KiB.
    pub fn read(&mut self) -> &[u8] {
        let mut piece = [0; 4096];
        // Bounded: somebody might write as fast as this reads.
        for _ in 0..64 {
            match self.pipe.read(&mut piece) {
                Ok(count) if count > 0 => self.bytes.extend_from_slice(&piece[..count]),
                _ => break,
            }
        }
        let excess = self.bytes.len().saturating_sub(TAIL_BYTES);
        self.bytes.drain(..excess);
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn keeps_the_end_and_never_waits() {
        let (mut tail, mut writer) = Tail::new().expect("pipe");
        assert_eq!(tail.read(), b"");
        for _ in 0..3 {
            writer.write_all(&[b'x'; 9000]).expect("write");
            assert_eq!(tail.read().len(), TAIL_BYTES);
        }
        writer.write_all(b"end").expect("write");
        assert!(tail.read().ends_with(b"xend"));
        drop(writer);
        assert!(tail.read().ends_with(b"xend"));
    }
}
