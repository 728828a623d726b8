//! One output stream of an execution: what of it is sent, and the file that has all of it when that is not enough.

use crate::launch;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use ukernel_abi::message::{SpilledOutput, Stream};

/// Where outputs that are too long to be sent are kept.
pub const SPILLED: &str = "/tmp/.ukernel-output";

/// One stream on its way to the host.
pub struct Output {
    pub stream: Stream,
    /// The folder of its file.
    place: PathBuf,
    /// Bytes that may be sent; what is beyond goes to a file.
    inline: u64,
    bytes: u64,
    /// What has been sent, as long as a file may become necessary.
    sent: Vec<u8>,
    file: Option<(File, String, u64)>,
}

impl Output {
    pub fn new(stream: Stream, inline: u64, place: impl Into<PathBuf>) -> Self {
        Self {
            stream,
            place: place.into(),
            inline,
            bytes: 0,
            sent: Vec::new(),
            file: None,
        }
    }

    /// Takes what the program wrote; gives what is to be sent.
    pub fn take<'a>(&mut self, id: u32, bytes: &'a [u8]) -> &'a [u8] {
        let left = self.inline.saturating_sub(self.bytes);
        let keep = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        self.bytes += bytes.len() as u64;
        if self.inline == u64::MAX {
            return bytes;
        }
        if self.file.is_none() && keep == bytes.len() {
            self.sent.extend_from_slice(bytes);
            return bytes;
        }
        if self.file.is_none() {
            self.file = self.spill(id);
            let before = std::mem::take(&mut self.sent);
            self.keep(&before);
        }
        self.keep(bytes);
        &bytes[..keep]
    }

    fn spill(&self, id: u32) -> Option<(File, String, u64)> {
        std::fs::create_dir_all(&self.place).ok()?;
        let name = match self.stream {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        };
        let path = self.place.join(format!("{id}-{name}"));
        // What stands there is user code's: it is not written through.
        let _ = std::fs::remove_file(&path);
        let file = File::create_new(&path).ok()?;
        let _ = std::os::unix::fs::fchown(&file, Some(launch::USER), Some(launch::USER));
        Some((file, path.to_str()?.to_owned(), 0))
    }

    fn keep(&mut self, bytes: &[u8]) {
        if let Some((file, _, kept)) = &mut self.file
            && file.write_all(bytes).is_ok()
        {
            *kept += bytes.len() as u64;
        }
    }

    /// The file, if one became necessary.
    pub fn spilled(self) -> Option<SpilledOutput> {
        if self.bytes <= self.inline {
            return None;
        }
        let (path, kept_bytes) = self
            .file
            .map_or((String::new(), 0), |(_, path, kept)| (path, kept));
        Some(SpilledOutput {
            stream: self.stream,
            path,
            bytes: self.bytes,
            kept_bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_sent_and_no_file_is_made() {
        for inline in [6, u64::MAX] {
            let mut output = Output::new(Stream::Stdout, inline, "/nowhere");
            assert_eq!(output.take(1, b"abc"), b"abc");
            assert_eq!(output.take(1, b"def"), b"def");
            assert!(output.spilled().is_none());
        }
    }

    #[test]
    fn what_is_beyond_the_bound_is_counted_and_not_sent() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut output = Output::new(Stream::Stderr, 4, folder.path());
        assert_eq!(output.take(1, b"abc"), b"abc");
        assert_eq!(output.take(1, b"def"), b"d");
        assert_eq!(output.take(1, b"ghi"), b"");
        let spilled = output.spilled().expect("a file");
        assert_eq!((spilled.bytes, spilled.kept_bytes), (9, 9));
        let content = std::fs::read(&spilled.path).expect("read");
        assert_eq!(content, b"abcdefghi");
        // Without room for a file it is said that nothing was kept.
        let mut output = Output::new(Stream::Stderr, 4, "/dev/null/none");
        assert_eq!(output.take(1, b"abcdef"), b"abcd");
        let spilled = output.spilled().expect("said");
        assert_eq!((spilled.bytes, spilled.kept_bytes), (6, 0));
    }
}
