//! An HTTP server on this machine, for what stands in for AWS and for Clerk.
use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use http_body::Body;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// Answers requests, each with its caller's address, until the listener fails. A body that fails breaks its connection.
pub(crate) async fn serve<F, B>(
    listener: TcpListener,
    answer: impl Fn(Request<Incoming>, SocketAddr) -> F + Clone + Send + Sync + 'static,
) -> io::Result<()>
where
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    loop {
        let (stream, caller) = match listener.accept().await {
            // It went away before its turn.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
            accepted => accepted?,
        };
        let answer = answer.clone();
        let service = service_fn(move |request| {
            let response = answer(request, caller);
            async move { Ok::<_, Infallible>(response.await) }
        });
        // A caller that goes away is no concern of ours.
        tokio::spawn(async {
            http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok()
        });
    }
}

/// An answer with a JSON text.
pub(crate) fn json(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The status of this number; 500 if there is none.
pub(crate) fn status(number: u16) -> StatusCode {
    StatusCode::from_u16(number).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
