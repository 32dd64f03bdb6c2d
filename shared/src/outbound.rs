//! Requests to others: whom they may go to, and how much of an answer is read.
use std::net::IpAddr;
use std::sync::LazyLock;
use std::time::Duration;

use reqwest::{Client, ClientBuilder, Response, Url, redirect};
use rustls::{ClientConfig, RootCertStore};

/// With Mozilla's authorities, which are built in: reading the system's was two thirds of the CPU time of a start.
static TLS: LazyLock<ClientConfig> = LazyLock::new(|| {
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()
});

/// The URL, if nobody on the way can answer in its place: `https:`, or `http:` of this machine.
#[must_use]
pub fn url(address: &str) -> Option<Url> {
    let url = Url::parse(address).ok()?;
    (url.scheme() == "https" || (url.scheme() == "http" && is_local(&url))).then_some(url)
}

/// A client that follows no redirect: whoever is asked answers. `timeout` is for a whole request, from the name
/// look-up to the last byte.
pub fn client(timeout: Duration) -> ClientBuilder {
    let client = Client::builder().tls_backend_preconfigured(TLS.clone());
    client.timeout(timeout).redirect(redirect::Policy::none())
}

/// The body, or none when it has more than `most` bytes.
///
/// # Errors
/// When it does not come to its end.
pub async fn body(mut response: Response, most: usize) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > most {
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
