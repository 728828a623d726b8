//! One request: what is let in, and what becomes of it.

use super::body;
use super::refused::{Refused, json_response, response_of};
use crate::query::{Found, OpenBridges};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{EXPECT, HeaderMap};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response};
use std::convert::Infallible;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use ukernel_sandbox::environment::{HostCall, MAX_CALL_BYTES, SessionToken};

/// What a call has to show.
const TOKEN_HEADER: &str = "x-session-token";

/// Before the name of a call.
const PREFIX: &str = "/v1/call/";

/// What all requests share.
pub(super) struct Desk {
    pub(super) bridges: OpenBridges,
    /// How long a client may say nothing.
    pub(super) patience: Duration,
    pub(super) stopping: CancellationToken,
}

impl Desk {
    /// Answers a request. Dropped, with the call, when the client hangs up.
    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let (head, mut body) = request.into_parts();
        let answered = tokio::select! {
            biased;
            () = self.stopping.cancelled() => Err(Refused::stopping()),
            answered = self.call(&head, &mut body) => answered,
        };
        let refused = match answered {
            Ok(response) => return Ok(response),
            Err(refused) => refused,
        };
        // A client that waits for "100 Continue" has not begun to send.
        if refused.is_patient() && !head.headers.contains_key(EXPECT) {
            tokio::select! {
                () = self.stopping.cancelled() => (),
                () = body::drain(&mut body, self.patience) => (),
            }
        }
        Ok(refused.into_response())
    }

    /// Nothing of the payload is read for those who show no token that is worth something.
    async fn call(
        &self,
        head: &Parts,
        body: &mut Incoming,
    ) -> Result<Response<Full<Bytes>>, Refused> {
        let name = name_of(head)?;
        let token = token_of(&head.headers)?;
        let Some(Found { gate, room }) = self.bridges.find(&token) else {
            return Err(Refused::worthless());
        };
        let _place = room.try_acquire().map_err(|_| Refused::too_many())?;
        let calling = async {
            let payload = body::read(body, self.patience).await?;
            let call = HostCall {
                // Tells calls of one channel apart; here each has its own request.
                number: 0,
                token,
                name: name.to_owned(),
                payload,
            };
            gate.answer_or_refuse(call).await.map_err(Refused::from)
        };
        let answer: Vec<u8> = tokio::select! {
            biased;
            () = gate.ended() => return Err(Refused::worthless()),
            answer = calling => answer?,
        };
        if answer.len() > MAX_CALL_BYTES {
            return Err(Refused::answer_too_large());
        }
        Ok(if gate.answers_json(name) {
            json_response(answer)
        } else {
            response_of(answer, "application/octet-stream")
        })
    }
}

fn name_of(head: &Parts) -> Result<&str, Refused> {
    let name = head.uri.path().strip_prefix(PREFIX);
    let name = name.filter(|name| !name.is_empty() && !name.contains('/'));
    let name = name.ok_or_else(Refused::no_such_path)?;
    if head.method == Method::POST {
        Ok(name)
    } else {
        Err(Refused::no_such_method())
    }
}

fn token_of(headers: &HeaderMap) -> Result<SessionToken, Refused> {
    let mut shown = headers.get_all(TOKEN_HEADER).iter();
    let one = shown.next().ok_or_else(Refused::without_token)?;
    let hash = blake3::Hash::from_hex(one.as_bytes()).ok();
    hash.filter(|_| shown.next().is_none())
        .map(|hash| *hash.as_bytes())
        .ok_or_else(|| Refused::malformed("X-Session-Token has to be 64 hexadecimal digits, once"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(refused: Refused) -> u16 {
        refused.into_response().status().as_u16()
    }

    fn named(method: &str, path: &str) -> Result<String, u16> {
        let request = Request::builder().method(method).uri(path).body(());
        let (head, ()) = request.expect("a request").into_parts();
        name_of(&head).map(str::to_owned).map_err(status)
    }

    fn shown(values: &[&str]) -> Result<SessionToken, u16> {
        let mut headers = HeaderMap::new();
        for value in values {
            let value = value.parse().expect("a value");
            headers.append("X-Session-Token", value);
        }
        token_of(&headers).map_err(status)
    }

    #[test]
    fn calls_are_posts_below_one_path() {
        assert_eq!(named("POST", "/v1/call/final"), Ok("final".to_owned()));
        assert_eq!(named("GET", "/v1/call/final"), Err(405));
        for path in ["/", "/v1/call/", "/v1/call/a/b", "/v2/call/a", "/v1/call"] {
            assert_eq!(named("POST", path), Err(404), "{path}");
        }
    }

    #[test]
    fn a_token_is_64_digits_and_shown_once() {
        let digits = "0a".repeat(32);
        assert_eq!(shown(&[&digits]), Ok([10; 32]));
        assert_eq!(shown(&[&digits.to_uppercase()]), Ok([10; 32]));
        assert_eq!(shown(&[]), Err(401));
        assert_eq!(shown(&[&digits, &digits]), Err(400));
        for wrong in ["", "0a", &"0".repeat(63), &"0".repeat(65), &"0g".repeat(32)] {
            assert_eq!(shown(&[wrong]), Err(400), "{wrong}");
        }
    }
}
