//! What a client is told when its call is not answered.

use crate::query::Refusal;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::json;
use std::borrow::Cow;
use ukernel_sandbox::environment::{MAX_CALL_BYTES, MAX_PENDING_CALLS};

/// For tokens that were never given and for those that are worth nothing any more: the difference
/// would tell who guesses that there is such a session.
const WORTHLESS: &str = "this token is not known, or what it was for has ended";

/// A refusal: a status, and why, for people.
#[derive(Debug)]
pub(super) struct Refused {
    status: StatusCode,
    why: Cow<'static, str>,
}

impl Refused {
    fn new(status: StatusCode, why: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            why: why.into(),
        }
    }

    pub(super) fn malformed(why: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, why)
    }

    pub(super) fn without_token() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "there is no header X-Session-Token",
        )
    }

    pub(super) fn worthless() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, WORTHLESS)
    }

    pub(super) fn no_such_path() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "there is nothing here. hint: POST /v1/call/{name}",
        )
    }

    pub(super) fn no_such_method() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "calls are made with POST")
    }

    pub(super) fn too_slow() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "the payload did not come")
    }

    pub(super) fn too_large() -> Self {
        let why = format!("the payload has more than {} MiB", MAX_CALL_BYTES >> 20);
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, why)
    }

    /// In the words of the channel.
    pub(super) fn answer_too_large() -> Self {
        let why = format!("the answer has more than {} MiB", MAX_CALL_BYTES >> 20);
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, why)
    }

    pub(super) fn too_many() -> Self {
        let why = format!("{MAX_PENDING_CALLS} calls of this session are under way: wait for one");
        Self::new(StatusCode::TOO_MANY_REQUESTS, why)
    }

    pub(super) fn stopping() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "the server is stopping")
    }

    /// Whether what is left of the payload is worth reading, so that the client gets to hear why.
    pub(super) fn is_patient(&self) -> bool {
        self.status != StatusCode::REQUEST_TIMEOUT && !self.is_stopping()
    }

    fn is_stopping(&self) -> bool {
        self.status == StatusCode::SERVICE_UNAVAILABLE
    }

    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = json_response(json!({"error": self.why}).to_string().into_bytes());
        *response.status_mut() = self.status;
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            let allowed = HeaderValue::from_static("POST");
            response.headers_mut().insert(ALLOW, allowed);
        }
        response
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Foreign | Refusal::Ended => Self::worthless(),
            Refusal::Malformed(why) => Self::malformed(why),
            Refusal::Denied(why) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, why),
        }
    }
}

pub(super) fn json_response(json: Vec<u8>) -> Response<Full<Bytes>> {
    response_of(json, "application/json")
}

pub(super) fn response_of(bytes: Vec<u8>, kind: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(bytes));
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
