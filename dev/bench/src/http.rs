//! Requests to the peers, over connections that stay open.
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The longest that an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A request without its token.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) port: u16,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) body: String,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Client {
    target: Target,
    connection: SendRequest<Full<Bytes>>,
}

impl Client {
    pub(crate) async fn connect(target: &Target) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", target.port)).await?;
        stream.set_nodelay(true)?;
        let (connection, driver) = handshake(TokioIo::new(stream)).await?;
        // A broken connection fails the request that waits for its answer.
        tokio::spawn(async { driver.await.ok() });
        Ok(Self { target: target.clone(), connection })
    }

    /// The body of the answer, which has to be a 200, and how long it took.
    pub(crate) async fn ask(&mut self, token: &str) -> Result<(Bytes, Duration)> {
        let Target { port, method, path, body } = &self.target;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", format!("127.0.0.1:{port}"))
            .header("accept", "application/json")
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .body(Full::from(body.clone()))?;
        let started = Instant::now();
        let answer = async {
            self.connection.ready().await?;
            let response = self.connection.send_request(request).await?;
            let status = response.status();
            Ok::<_, anyhow::Error>((status, response.into_body().collect().await?.to_bytes()))
        };
        let (status, body) = timeout(PATIENCE, answer).await.context("it does not answer")??;
        ensure!(status == 200, "it answered {status}: {}", String::from_utf8_lossy(&body));
        Ok((body, started.elapsed()))
    }
}
