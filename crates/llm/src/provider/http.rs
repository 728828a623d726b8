//! The HTTP client below the library: rustls, no redirects, no environment.

use crate::{LlmConfig, LlmError, Result};
use reqwest::redirect::Policy;
use reqwest::{NoProxy, Proxy};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;
use std::sync::Arc;
use std::time::Duration;

/// This machine's own addresses, which are not reached through a proxy.
const OWN_ADDRESSES: &str = "localhost,127.0.0.0/8,::1";

/// The library, over a client with our limits.
pub(super) fn library(config: &LlmConfig) -> Result<genai::Client> {
    let client = http_client(config.limits.connect_timeout(), config.proxy.as_deref())?;
    genai::Client::builder()
        .with_reqwest(client)
        .build()
        .map_err(|cause| refuse("the provider library", &cause))
}

fn refuse(what: &str, cause: &dyn std::fmt::Display) -> LlmError {
    LlmError::Config(format!("{what}: {cause}"))
}

/// An HTTP client that follows no redirects, tries nothing twice and reads no environment. This
/// machine's own addresses are not reached through the proxy.
///
/// # Errors
/// [`LlmError::Config`] for a proxy that is no URL.
pub fn http_client(connect_timeout: Duration, proxy: Option<&str>) -> Result<reqwest::Client> {
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls().map_err(|cause| refuse("TLS", &cause))?)
        // A redirect could take the key elsewhere.
        .redirect(Policy::none())
        .referer(false)
        .retry(reqwest::retry::never())
        // What is small on the wire and huge in memory is not asked for.
        .no_gzip()
        // The environment is read by the doors only.
        .no_proxy()
        .tcp_nodelay(true)
        .connect_timeout(connect_timeout)
        .user_agent(concat!("ukernel/", env!("CARGO_PKG_VERSION")));
    if let Some(proxy) = proxy {
        // The URL may hold a password, and is not shown.
        let proxy = Proxy::all(proxy).map_err(|_| refuse("proxy", &"is no URL"))?;
        builder = builder.proxy(proxy.no_proxy(NoProxy::from_string(OWN_ADDRESSES)));
    }
    builder
        .build()
        .map_err(|cause| refuse("the HTTP client", &cause))
}

/// TLS with ring, and with the certificates of this machine. Where it has none, https fails at
/// the first call and says so, and http to a local server works.
fn tls() -> Result<ClientConfig, rustls::Error> {
    let crypto = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(crypto.clone())
        .with_safe_default_protocol_versions()?;
    let mut config = match Verifier::new(crypto.clone()) {
        Ok(verifier) => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth(),
        Err(_) => builder
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
