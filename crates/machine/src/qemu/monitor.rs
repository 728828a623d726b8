//! QEMU's machine protocol (QMP): a line of JSON to it, a line back; events in between.

use super::failure;
use crate::{MachineError, Result};
use serde_json::{Value, json};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// Longest line. A guest that has taken QEMU over could send any.
const MAX_LINE_BYTES: usize = 1 << 20;
/// Most lines that are no answer, one after the other.
const MAX_EVENTS: usize = 1000;

#[derive(Debug)]
pub(super) struct Monitor {
    stream: UnixStream,
    /// What has come behind the last line.
    buffer: Vec<u8>,
}

impl Monitor {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    /// Waits for QEMU to be there.
    pub(super) fn greet(&mut self, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        let greeting = self.line(deadline, limit)?;
        if greeting.get("QMP").is_none() {
            return Err(failure("it does not greet as QEMU does"));
        }
        self.run("qmp_capabilities", &json!({}), limit)?;
        Ok(())
    }

    /// Has a command carried out.
    pub(super) fn run(
        &mut self,
        command: &str,
        arguments: &Value,
        limit: Duration,
    ) -> Result<Value> {
        let deadline = Instant::now() + limit;
        let mut request = json!({ "execute": command, "arguments": arguments }).to_string();
        request.push('\n');
        self.stream
            .set_write_timeout(Some(limit))
            .and_then(|()| self.stream.write_all(request.as_bytes()))
            .map_err(|error| told(error, limit))?;
        for _ in 0..MAX_EVENTS {
            let mut answer = self.line(deadline, limit)?;
            if let Some(result) = answer.get_mut("return") {
                return Ok(result.take());
            }
            if let Some(error) = answer.get("error") {
                let reason = error["desc"].as_str().unwrap_or("no reason given");
                return Err(failure(format!("{command}: {reason}")));
            }
        }
        Err(failure(format!("{command} is not answered")))
    }

    fn line(&mut self, deadline: Instant, limit: Duration) -> Result<Value> {
        let mut piece = [0; 4096];
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return serde_json::from_slice(&line).map_err(|_| failure("it answers nonsense"));
            }
            if self.buffer.len() > MAX_LINE_BYTES {
                return Err(failure("it answers without end"));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(MachineError::TimedOut(limit));
            }
            let read = self
                .stream
                .set_read_timeout(Some(left))
                .and_then(|()| self.stream.read(&mut piece));
            match read {
                Ok(0) => return Err(MachineError::Closed),
                Ok(count) => self.buffer.extend_from_slice(&piece[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(told(error, limit)),
            }
        }
    }
}

fn told(error: std::io::Error, limit: Duration) -> MachineError {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => MachineError::TimedOut(limit),
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => MachineError::Closed,
        _ => MachineError::io("speaking to QEMU", error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    fn monitor(said: &[u8]) -> (Monitor, UnixStream) {
        let (near, mut far) = UnixStream::pair().expect("a pair");
        far.write_all(said).expect("said");
        (Monitor::new(near), far)
    }

    #[test]
    fn answers_are_told_from_events() {
        let (mut monitor, _far) = monitor(
            b"{\"QMP\": {}}\n{\"return\": {}}\n{\"event\": \"STOP\"}\n{\"return\": {\"status\": \"paused\"}}\n{\"error\": {\"desc\": \"no\"}}\n",
        );
        monitor.greet(LIMIT).expect("greeted");
        let status = monitor.run("query-status", &json!({}), LIMIT);
        assert_eq!(status.expect("a status")["status"], "paused");
        let refused = monitor.run("cont", &json!({}), LIMIT).expect_err("refused");
        assert_eq!(refused.to_string(), "qemu: cont: no");
    }

    #[test]
    fn a_hostile_process_is_given_up() {
        for said in [&b"nonsense\n"[..], b"{}\n", b"\xff\xfe\n"] {
            assert!(monitor(said).0.greet(LIMIT).is_err());
        }
        let (mut silent, _far) = monitor(b"");
        let late = silent.greet(Duration::from_millis(20));
        assert!(matches!(late, Err(MachineError::TimedOut(_))));
        let (mut gone, far) = monitor(b"{\"QMP\"");
        drop(far);
        assert!(matches!(gone.greet(LIMIT), Err(MachineError::Closed)));
    }
}
