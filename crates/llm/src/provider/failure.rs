//! What a failed attempt was: read out of the library's errors, which nest.

use super::frames::StreamError;
use crate::{Cost, Failure, FailureKind, Provider, Redactor, Usage};
use genai::webc::StreamTimeout;
use reqwest::header::HeaderMap;
use serde_json::Value;
use std::error::Error;
use std::io;
use std::time::{Duration, SystemTime};

/// Longest message of a failure, in characters.
const MAX_MESSAGE_CHARS: usize = 300;

/// A failed attempt. What is said here may still hold keys.
#[derive(Debug)]
pub(super) struct Fault {
    pub kind: FailureKind,
    pub status: Option<u16>,
    pub message: String,
    pub retry_after: Option<Duration>,
    /// Whether another attempt is useless: the provider said so, or nobody took up the connection.
    pub is_final: bool,
    /// Whether the provider may have worked, and may charge for it.
    pub may_cost: bool,
    /// Whether the connection was closed while an answer was waited for.
    pub is_unanswered: bool,
}

impl Fault {
    /// One that needs no words.
    pub(super) fn of(kind: FailureKind) -> Self {
        Self::said(kind, String::new())
    }

    /// One with words.
    pub(super) fn said(kind: FailureKind, message: String) -> Self {
        Self {
            kind,
            status: None,
            message,
            retry_after: None,
            is_final: false,
            may_cost: kind != FailureKind::Connect,
            is_unanswered: false,
        }
    }

    /// Of an error within a stream.
    pub(super) fn of_stream(error: StreamError) -> Self {
        let kind = match error.kind.as_str() {
            "overloaded_error" => FailureKind::Overloaded,
            "rate_limit_error" => FailureKind::RateLimited,
            _ => FailureKind::Server,
        };
        Self::said(kind, error.message)
    }

    /// Of an error of the library.
    pub(super) fn of_library(error: &genai::Error) -> Self {
        use genai::Error as Of;
        match error {
            Of::HttpError {
                status,
                body,
                headers,
                ..
            } => Self::of_status(status.as_u16(), body, headers),
            Of::WebStream { error, cause, .. } => Self::of_transport(error.as_ref(), cause),
            Of::ChatResponse { body, .. } => Self::said(
                FailureKind::Server,
                message_of_json(body).unwrap_or_default(),
            ),
            // JSON that ends too early was cut off, not badly written.
            Of::StreamParse { serde_error, .. } if serde_error.is_eof() => {
                Self::of(FailureKind::BrokenOff)
            }
            other => Self::said(FailureKind::NotUnderstood, other.to_string()),
        }
    }

    /// Of an HTTP status that is not success.
    fn of_status(status: u16, body: &str, headers: &HeaderMap) -> Self {
        let kind = match status {
            401 | 403 => FailureKind::Unauthorized,
            404 => FailureKind::NotFound,
            429 => FailureKind::RateLimited,
            503 | 529 => FailureKind::Overloaded,
            400..500 => FailureKind::Refused,
            _ => FailureKind::Server,
        };
        let json: Option<Value> = serde_json::from_str(body).ok();
        let message = json.as_ref().and_then(message_of_json);
        let should_retry = headers.get("x-should-retry");
        Self {
            kind,
            status: Some(status),
            message: message.unwrap_or_else(|| body.to_owned()),
            retry_after: retry_after(headers, SystemTime::now()),
            is_final: should_retry.is_some_and(|value| value.as_bytes() == b"false"),
            may_cost: false,
            is_unanswered: false,
        }
    }

    /// Of an error below HTTP, or of one above it that was wrapped on the way.
    fn of_transport(error: &(dyn Error + Send + Sync + 'static), cause: &str) -> Self {
        if let Some(error) = error.downcast_ref::<genai::Error>() {
            return Self::of_library(error);
        }
        if error.is::<StreamTimeout>() {
            return Self::of(FailureKind::Stalled);
        }
        if error.is::<std::string::FromUtf8Error>() {
            return Self::said(FailureKind::NotUnderstood, "it is no UTF-8".to_owned());
        }
        let Some(http) = error.downcast_ref::<reqwest::Error>() else {
            return Self::said(FailureKind::NotUnderstood, cause.to_owned());
        };
        let kind = match http.is_connect() {
            true => FailureKind::Connect,
            false => FailureKind::BrokenOff,
        };
        Self {
            // Who does not take up a connection in time would only be waited for again.
            is_final: http.is_timeout(),
            is_unanswered: http.is_request() && is_closed(error),
            ..Self::said(kind, deepest(error))
        }
    }

    /// Whether the call is tried again: only if the provider says so, nothing was sent, or its server failed
    /// (500, 502, 504), and never once a part of the reply has come.
    pub(super) fn is_worth_another(&self, provider: &Provider, has_begun: bool) -> bool {
        let is_passing = match self.kind {
            FailureKind::Connect | FailureKind::RateLimited => true,
            FailureKind::Server => matches!(self.status, Some(500 | 502 | 504)),
            FailureKind::Overloaded => self.status != Some(529) || *provider == Provider::Anthropic,
            _ => false,
        };
        is_passing && !self.is_final && !has_begun
    }

    /// The failure of the call, without keys.
    pub(super) fn into_failure(
        self,
        provider: String,
        attempts: u32,
        usage: Option<Usage>,
        cost: Option<Cost>,
        redactor: &Redactor,
    ) -> Failure {
        Failure {
            provider,
            kind: self.kind,
            status: self.status,
            message: redactor.excerpt(&self.message, MAX_MESSAGE_CHARS),
            retry_after: self.retry_after,
            attempts,
            usage,
            cost,
        }
    }
}

/// Whether the other side closed the connection.
fn is_closed(error: &(dyn Error + 'static)) -> bool {
    let causes = std::iter::successors(Some(error), |error| (*error).source());
    causes.into_iter().any(|cause| {
        let http = cause.downcast_ref::<hyper::Error>();
        let system = cause.downcast_ref::<io::Error>();
        http.is_some_and(hyper::Error::is_incomplete_message)
            || system.is_some_and(|error| {
                matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
                )
            })
    })
}

/// The innermost cause, which is what the system said: "connection refused".
fn deepest(error: &(dyn Error + 'static)) -> String {
    let mut error = error;
    while let Some(cause) = error.source() {
        error = cause;
    }
    error.to_string()
}

/// What an error document says, in the ways providers have of saying it.
fn message_of_json(body: &Value) -> Option<String> {
    let paths = ["/error/message", "/error", "/message", "/0/error/message"];
    let texts = paths.iter().filter_map(|path| body.pointer(path)?.as_str());
    texts.map(str::to_owned).next()
}

/// How long the provider asks to wait: `retry-after-ms`, else `Retry-After` (RFC 9110, section
/// 10.2.3), in seconds or as a date.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let millis = text("retry-after-ms").and_then(|text| text.parse().ok());
    if let Some(millis) = millis {
        return Some(Duration::from_millis(millis));
    }
    let text = text("retry-after")?;
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    fn wait(name: &'static str, value: &'static str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_static(value));
        // One second into 1970.
        retry_after(&headers, SystemTime::UNIX_EPOCH + Duration::from_secs(1))
    }

    #[test]
    fn waits_are_read_in_all_their_forms() {
        assert_eq!(wait("retry-after", " 7 "), Some(Duration::from_secs(7)));
        assert_eq!(
            wait("retry-after-ms", "250"),
            Some(Duration::from_millis(250))
        );
        let date = "Thu, 01 Jan 1970 00:00:11 GMT";
        assert_eq!(wait("retry-after", date), Some(Duration::from_secs(10)));
        let past = "Thu, 01 Jan 1970 00:00:00 GMT";
        assert_eq!(wait("retry-after", past), Some(Duration::ZERO));
        assert_eq!(wait("retry-after", "soon"), None);
        assert_eq!(wait("retry-after", "-1"), None);
    }

    #[test]
    fn only_what_passes_is_tried_again() {
        let none = HeaderMap::new();
        let again = |status, provider: &Provider| {
            Fault::of_status(status, "", &none).is_worth_another(provider, false)
        };
        for status in [429, 500, 502, 503, 504] {
            assert!(again(status, &Provider::OpenAi), "{status}");
        }
        for status in [302, 400, 401, 403, 404, 408, 501, 529] {
            assert!(!again(status, &Provider::OpenAi), "{status}");
        }
        assert!(again(529, &Provider::Anthropic));
        let fault = Fault::of_status(429, "", &none);
        assert!(!fault.is_worth_another(&Provider::OpenAi, true));
    }
}
