//! Output of one execution on its way to the caller.

use crate::environment::{Output, OutputSink, Stream};
use ukernel_machine::MachineError;

/// Keeps and hands on what an execution writes. The guest keeps to the bound it was told; one
/// that does not is not believed.
pub(super) struct Collector {
    sink: Option<OutputSink>,
    bound: usize,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Collector {
    pub(super) fn new(sink: Option<OutputSink>, bound: usize) -> Self {
        Self {
            sink,
            bound,
            stdout: Vec::new(),
            stderr: Vec::new(),
        }
    }

    pub(super) async fn take(
        &mut self,
        stream: Stream,
        bytes: Vec<u8>,
    ) -> Result<(), MachineError> {
        let kept = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        if bytes.len() > self.bound - kept.len() {
            return Err(MachineError::Unexpected(
                "more output than was asked for".to_owned(),
            ));
        }
        kept.extend_from_slice(&bytes);
        if let Some(sink) = &self.sink
            && sink.send((stream, bytes)).await.is_err()
        {
            self.sink = None;
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Output {
        let text = |bytes: Vec<u8>| match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        };
        Output {
            stdout: text(self.stdout),
            stderr: text(self.stderr),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_guest_that_says_too_much_is_not_heard() {
        let mut collector = Collector::new(None, 4);
        let mut say = async |bytes: &[u8]| collector.take(Stream::Stdout, bytes.to_vec()).await;
        say(b"abc").await.expect("room");
        assert!(say(b"de").await.is_err());
        say(b"d").await.expect("room");
        assert_eq!(collector.finish().stdout, "abcd");
    }
}
