//! As much of HTTP as a stand-in needs: one request without a body per connection, one answer.
use std::io;

use anyhow::{Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The longest request read, in bytes.
const MAX_REQUEST_BYTES: usize = 16 * 1024;

/// What is answered.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) header: Option<(&'static str, String)>,
    pub(super) body: String,
}

impl Reply {
    pub(super) fn new(status: u16, body: String) -> Self {
        Self { status, header: None, body }
    }
}

/// Answers the heads of requests until the listener fails.
pub(super) async fn serve<F>(
    listener: TcpListener,
    answer: impl Fn(String) -> F + Clone + Send + Sync + 'static,
) -> io::Result<()>
where
    F: Future<Output = Reply> + Send + 'static,
{
    loop {
        let (stream, _) = listener.accept().await?;
        let answer = answer.clone();
        // A client that goes away is none of our business.
        tokio::spawn(async move { respond(stream, answer).await.ok() });
    }
}

async fn respond<F: Future<Output = Reply>>(
    mut stream: TcpStream,
    answer: impl Fn(String) -> F,
) -> Result<()> {
    let Reply { status, header, body } = answer(read_head(&mut stream).await?).await;
    let header = header.map(|(name, value)| format!("{name}: {value}\r\n")).unwrap_or_default();
    let head = format!(
        "HTTP/1.1 {status} -\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{header}\
         Connection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    Ok(stream.shutdown().await?)
}

/// Reads a request up to the empty line that ends its head.
async fn read_head(stream: &mut TcpStream) -> Result<String> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut buffer = [0; 1024];
        let read = stream.read(&mut buffer).await?;
        if read == 0 || head.len() + read > MAX_REQUEST_BYTES {
            bail!("no whole request came");
        }
        head.extend_from_slice(&buffer[..read]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}
