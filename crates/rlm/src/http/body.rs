//! Reading what a client sends, for as long as it sends.

use super::refused::Refused;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use std::time::Duration;
use tokio::time::timeout;
use ukernel_sandbox::environment::MAX_CALL_BYTES;

/// A payload may take this many times as long as a client may say nothing: one that sends a byte
/// now and then would hold its connection for ever.
const PATIENCES: u32 = 12;

/// Most of a payload that is read only to be thrown away.
const MAX_DRAINED_BYTES: usize = 2 * MAX_CALL_BYTES;

/// The whole payload.
pub(super) async fn read(body: &mut Incoming, patience: Duration) -> Result<Vec<u8>, Refused> {
    let whole = timeout(patience * PATIENCES, read_on(body, patience)).await;
    whole.map_err(|_| Refused::too_slow())?
}

async fn read_on(body: &mut Incoming, patience: Duration) -> Result<Vec<u8>, Refused> {
    if body.size_hint().lower() > MAX_CALL_BYTES as u64 {
        return Err(Refused::too_large());
    }
    let mut bytes = Vec::new();
    loop {
        let frame = timeout(patience, body.frame()).await;
        let Some(frame) = frame.map_err(|_| Refused::too_slow())? else {
            return Ok(bytes);
        };
        let frame = frame.map_err(|error| Refused::malformed(format!("the payload: {error}")))?;
        // Trailers say nothing here.
        let piece = frame.into_data().unwrap_or_default();
        if bytes.len() + piece.len() > MAX_CALL_BYTES {
            return Err(Refused::too_large());
        }
        bytes.extend_from_slice(&piece);
    }
}

/// Throws away what is left of a payload, within bounds. A client that still writes when its
/// connection is closed may never get to read why.
pub(super) async fn drain(body: &mut Incoming, patience: Duration) {
    let draining = async {
        let mut left = MAX_DRAINED_BYTES;
        while let Some(Ok(frame)) = body.frame().await {
            let length = frame.data_ref().map_or(0, |piece| piece.len());
            let Some(less) = left.checked_sub(length) else {
                return;
            };
            left = less;
        }
    };
    // A client that is that slow does not hear it.
    let _ = timeout(patience, draining).await;
}
