//! Host calls over HTTP, for guests that have a network and not the µkernel's channel: the same
//! calls with the same token, answered by the same gate (specification, section 2.10.2).
//!
//! ```text
//!   POST /v1/call/query_llm          X-Session-Token ──> registry of open bridges ──> gate
//!     server: connections, the end     call: what is let in     body, patient: slow clients
//! ```
//! Nothing listens until [`TerraphimRlm::serve_calls`] is called.

mod body;
mod call;
mod patient;
mod refused;
mod server;

pub use server::{BridgeServer, ServeOptions};

use crate::query::Bridge;
use crate::{Result, TerraphimRlm};
use std::fmt;
use std::net::SocketAddr;
use ukernel_sandbox::SessionId;
use ukernel_sandbox::environment::SessionToken;

/// A session's token as 64 hexadecimal digits. Whoever has it spends the session's budget, so it is
/// not printed by accident: [`Self::as_str`] is the only way to see it.
#[derive(Clone)]
pub struct HexToken(String);

impl HexToken {
    fn new(token: &SessionToken) -> Self {
        Self(blake3::Hash::from_bytes(*token).to_hex().to_string())
    }

    /// The digits, for the environment of a guest.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for HexToken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("HexToken(not shown)")
    }
}

/// Calls of a session are answered until this is dropped; those that are under way then end.
/// Made by [`TerraphimRlm::open_calls`].
#[must_use = "calls are refused as soon as this is dropped"]
pub struct OpenCalls {
    token: HexToken,
    _bridge: Bridge,
}

impl OpenCalls {
    /// What calls have to show: [`TerraphimRlm::session_token`].
    #[must_use]
    pub fn token(&self) -> &HexToken {
        &self.token
    }
}

impl fmt::Debug for OpenCalls {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("OpenCalls").finish_non_exhaustive()
    }
}

impl TerraphimRlm {
    /// Answers host calls over HTTP at a loopback address, on the runtime this is called in. Port 0
    /// picks one that is free.
    ///
    /// # Errors
    /// As [`Self::serve_calls_with`].
    pub async fn serve_calls(&self, address: SocketAddr) -> Result<BridgeServer> {
        self.serve_calls_with(address, ServeOptions::default())
            .await
    }

    /// The same with options. The server goes on if this runtime's handles are dropped, and refuses
    /// every call once its sessions have ended.
    ///
    /// # Errors
    /// [`RlmError::Config`](crate::RlmError::Config) for an address that others can reach, if the
    /// options do not allow it; [`RlmError::InternalError`](crate::RlmError::InternalError) if
    /// nothing can listen there.
    pub async fn serve_calls_with(
        &self,
        address: SocketAddr,
        options: ServeOptions,
    ) -> Result<BridgeServer> {
        server::start(self.bridges(), address, options).await
    }

    /// What calls of a session have to show. It stays the same until the session ends, and is worth
    /// something only while an execution of the session or an [`OpenCalls`] lasts.
    ///
    /// # Errors
    /// [`RlmError::SessionNotFound`](crate::RlmError::SessionNotFound).
    pub fn session_token(&self, session_id: SessionId) -> Result<HexToken> {
        Ok(HexToken::new(&self.bound(session_id)?.token))
    }

    /// Has calls of a session answered until the guard is dropped or the session ends: for a
    /// container, of which this runtime does not see what it executes. They are charged to the
    /// session. `contexts` lists nothing, and what `final` gives is nobody's answer.
    ///
    /// While it lasts it answers all calls over HTTP of this session, also beside an execution; of
    /// several the one that was opened first. Recursive queries come to their end
    /// `max_wall_clock_ms` after it was opened.
    ///
    /// # Errors
    /// [`RlmError::SessionNotFound`](crate::RlmError::SessionNotFound).
    pub fn open_calls(&self, session_id: SessionId) -> Result<OpenCalls> {
        let bound = self.bound(session_id)?;
        let asker = self.asker(&bound)?;
        Ok(OpenCalls {
            token: HexToken::new(&bound.token),
            _bridge: Bridge::hold(asker),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_digits_and_does_not_show_itself() {
        let token = HexToken::new(&[0xab; 32]);
        assert_eq!(token.as_str(), "ab".repeat(32));
        assert!(!format!("{token:?} {token:#?}").contains("ab"));
    }
}
