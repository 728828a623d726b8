//! Who calls.

use serde::{Deserialize, Serialize};

/// Who calls. Sessions and tasks belong to one caller, and no other finds them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Caller(String);

impl Caller {
    /// Whoever started this process, over its standard streams.
    #[must_use]
    pub fn local() -> Self {
        Self("local".to_owned())
    }

    /// Whoever shows this bearer token. Files keep a hash of it, not the token.
    #[must_use]
    pub fn of_token(token: &str) -> Self {
        let key = blake3::derive_key("terraphim_mcp_server 2026 caller v1", token.as_bytes());
        Self(blake3::Hash::from_bytes(key).to_hex()[..32].to_owned())
    }

    /// Whoever reaches a server that asks for no token.
    #[must_use]
    pub fn anybody() -> Self {
        Self("anybody".to_owned())
    }
}
