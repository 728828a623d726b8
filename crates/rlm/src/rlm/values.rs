//! A variable of a REPL on its way between host and guest: host calls of one execution of ours.

use async_trait::async_trait;
use serde::Deserialize;
use std::sync::{Mutex, MutexGuard, PoisonError};
use ukernel_sandbox::environment::{CallResult, HostCall, HostCalls, SessionToken};

/// Longest value that moves, in bytes.
pub(super) const MAX_VALUE_BYTES: usize = 256 << 20;

/// Longest piece handed out at once, in bytes.
const MAX_PIECE_BYTES: usize = 8 << 20;

/// Gives the guest a value in pieces, or takes one.
pub(super) struct Value {
    token: SessionToken,
    bytes: Mutex<Vec<u8>>,
}

#[derive(Deserialize)]
struct Piece {
    offset: usize,
    length: usize,
}

impl Value {
    /// What the guest is to have; nothing, if it is to give.
    pub(super) fn new(token: SessionToken, bytes: Vec<u8>) -> Self {
        Self {
            token,
            bytes: Mutex::new(bytes),
        }
    }

    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the guest gave.
    pub(super) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.bytes())
    }
}

#[async_trait]
impl HostCalls for Value {
    fn token(&self) -> SessionToken {
        self.token
    }

    async fn answer(&self, call: HostCall) -> CallResult {
        if !crate::query::is_same(&call.token, &self.token) {
            return Err("this is not the session's token".to_owned());
        }
        let mut bytes = self.bytes();
        match call.name.as_str() {
            "value" => {
                let piece: Piece = serde_json::from_slice(&call.payload)
                    .map_err(|error| format!("the call makes no sense: {error}"))?;
                let start = piece.offset.min(bytes.len());
                let length = piece.length.min(MAX_PIECE_BYTES).min(bytes.len() - start);
                Ok(bytes[start..start + length].to_vec())
            }
            "variable" if bytes.len() + call.payload.len() > MAX_VALUE_BYTES => {
                Err("a variable given to the host has at most 256 MiB".to_owned())
            }
            "variable" => {
                bytes.extend_from_slice(&call.payload);
                Ok(Vec::new())
            }
            _ => Err("there is no such call here".to_owned()),
        }
    }
}
