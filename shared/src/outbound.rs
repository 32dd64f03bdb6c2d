//! Requests to other services: which addresses are allowed, and how much of an answer is read.
use std::net::IpAddr;
use std::sync::LazyLock;
use std::time::Duration;

use reqwest::{Client, ClientBuilder, Response, Url, redirect};
use rustls::{ClientConfig, RootCertStore};

/// TLS with Mozilla's root certificates, which are built in: to read the system's took two thirds of a start's CPU time.
static TLS: LazyLock<ClientConfig> = LazyLock::new(|| {
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()
});

/// Reads a URL that no one on the way can answer for: `https:`, or `http:` of this machine. `None` for any other text.
#[must_use]
pub fn url(address: &str) -> Option<Url> {
    let url = Url::parse(address).ok()?;
    (url.scheme() == "https" || (url.scheme() == "http" && is_local(&url))).then_some(url)
}

/// A client that follows no redirect, so that no other service can answer. `timeout` is for a whole request, from the
/// name look-up to the last byte.
pub fn client(timeout: Duration) -> ClientBuilder {
    let client = Client::builder().tls_backend_preconfigured(TLS.clone());
    client.timeout(timeout).redirect(redirect::Policy::none())
}

/// The body, or `None` when it has more than `max_bytes`.
///
/// # Errors
/// When the connection breaks before the end of the body.
pub async fn body(mut response: Response, max_bytes: usize) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > max_bytes {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

fn is_local(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}
