//! Firecracker's API: HTTP/1.1 with JSON bodies on a Unix socket, one connection a request.

use crate::{MachineError, Result};
use serde::Serialize;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// Largest answer taken, in bytes. Answers are empty or one line of error.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// Most header lines of an answer.
const MAX_HEADERS: usize = 32;

/// Sends a request and waits until it is done.
///
/// # Errors
/// [`MachineError::Firecracker`] with what it refused, [`MachineError::TimedOut`],
/// [`MachineError::Io`] if it is gone.
pub(super) fn request(
    socket: &Path,
    method: &str,
    path: &str,
    body: &impl Serialize,
    limit: Duration,
) -> Result<()> {
    let failed = |error| MachineError::io(format!("{method} {path} to firecracker"), error);
    let deadline = Instant::now() + limit;
    let body = serde_json::to_vec(body).map_err(|error| failed(error.into()))?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut stream = UnixStream::connect(socket).map_err(failed)?;
    stream.set_write_timeout(Some(limit)).map_err(failed)?;
    stream.write_all(head.as_bytes()).map_err(failed)?;
    stream.write_all(&body).map_err(failed)?;
    let mut answer = Vec::new();
    loop {
        if let Some((status, body)) = parse(&answer)? {
            return judge(method, path, status, body);
        }
        if answer.len() >= MAX_ANSWER_BYTES {
            return Err(nonsense("an answer without end"));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(MachineError::TimedOut(limit));
        }
        stream.set_read_timeout(Some(left)).map_err(failed)?;
        let mut piece = [0; 4096];
        match stream.read(&mut piece) {
            Ok(0) => return Err(nonsense("the connection closed before an answer came")),
            Ok(count) => answer.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(failed(error)),
        }
    }
}

/// Status and body of an answer, once all of it is there.
fn parse(answer: &[u8]) -> Result<Option<(u16, &[u8])>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let head_bytes = match response.parse(answer) {
        Ok(httparse::Status::Complete(bytes)) => bytes,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(nonsense("an answer that is not HTTP")),
    };
    let status = response.code.unwrap_or_default();
    let length = response
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))
        .map_or(Some(0), |header| {
            std::str::from_utf8(header.value).ok()?.trim().parse().ok()
        })
        .filter(|length| *length <= MAX_ANSWER_BYTES)
        .ok_or_else(|| nonsense("an answer of impossible length"))?;
    Ok(answer[head_bytes..]
        .get(..length)
        .map(|body| (status, body)))
}

fn judge(method: &str, path: &str, status: u16, body: &[u8]) -> Result<()> {
    if (200..300).contains(&status) {
        return Ok(());
    }
    let fault = serde_json::from_slice::<serde_json::Value>(body)
        .ok()
        .and_then(|body| Some(body.get("fault_message")?.as_str()?.to_owned()))
        .unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
    Err(MachineError::Firecracker {
        cause: format!("{method} {path} was refused ({status}): {fault}"),
    })
}

fn nonsense(what: &str) -> MachineError {
    MachineError::Firecracker {
        cause: format!("{what} on its API socket"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_taken_when_whole() {
        let answer = b"HTTP/1.1 400 Bad\r\nContent-Length: 4\r\n\r\nfail";
        for cut in 0..answer.len() {
            assert!(matches!(parse(&answer[..cut]), Ok(None)), "{cut}");
        }
        let (status, body) = parse(answer).expect("HTTP").expect("whole");
        assert_eq!((status, body), (400, &b"fail"[..]));
        let empty = b"HTTP/1.1 204 No Content\r\n\r\n";
        assert_eq!(parse(empty).expect("HTTP"), Some((204, &b""[..])));
    }

    #[test]
    fn nonsense_is_refused() {
        for answer in [
            &b"\x7fELF\0\0\0\0"[..],
            b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n",
        ] {
            assert!(
                parse(answer).is_err(),
                "{}",
                String::from_utf8_lossy(answer)
            );
        }
    }

    #[test]
    fn a_refusal_says_why() {
        let error = judge(
            "PUT",
            "/vsock",
            400,
            br#"{"fault_message":"no such thing"}"#,
        );
        let text = error.expect_err("a refusal").to_string();
        assert!(
            text.contains("PUT /vsock") && text.contains("no such thing"),
            "{text}"
        );
    }
}
