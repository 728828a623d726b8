//! Output of one execution on its way to the caller.

use crate::environment::{Output, OutputSink, Stream};
use ukernel_machine::MachineError;
use ukernel_machine::guest::Event;

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

    pub(super) fn take(&mut self, event: Event) -> Result<(), MachineError> {
        let Event::Output(stream, bytes) = event else {
            return Ok(());
        };
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
        if let Some(sink) = &self.sink {
            sink(stream, &bytes);
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

    #[test]
    fn a_guest_that_says_too_much_is_not_heard() {
        let mut collector = Collector::new(None, 4);
        let say = |bytes: &[u8]| Event::Output(Stream::Stdout, bytes.to_vec());
        collector.take(say(b"abc")).expect("room");
        assert!(collector.take(say(b"de")).is_err());
        collector.take(say(b"d")).expect("room");
        assert_eq!(collector.finish().stdout, "abcd");
    }
}
