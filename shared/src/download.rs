//! A file that is sent while it is still read from the database, so that memory does not limit its length.
use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use http_body::Frame;
use http_body_util::StreamBody;
use lambda_http::Response;
use lambda_http::http::{HeaderValue, header};

use crate::error::{ApiError, StatusCode};
use crate::telemetry::Invocation;

type Chunks = Pin<Box<dyn Stream<Item = Result<Vec<u8>, ApiError>> + Send>>;

/// The body of a [`Download`], or of the problem in its place.
pub type DownloadBody = StreamBody<LoggedChunks>;

/// A file that is sent while it is read.
pub struct Download {
    content_type: &'static str,
    file_name: &'static str,
    chunks: Chunks,
}

impl Download {
    /// A file of `chunks`, to be saved as `file_name` (ASCII, without a quotation mark).
    pub fn new(
        content_type: &'static str,
        file_name: &'static str,
        chunks: impl Stream<Item = Result<Vec<u8>, ApiError>> + Send + 'static,
    ) -> Self {
        Self { content_type, file_name, chunks: Box::pin(chunks) }
    }

    /// The body of a problem, which is sent in one piece.
    pub(crate) fn problem_body(body: Vec<u8>, line: LogLine) -> DownloadBody {
        let chunks = stream::once(std::future::ready(Ok(body)));
        StreamBody::new(LoggedChunks { chunks: Box::pin(chunks), line })
    }

    pub(crate) fn into_response(self, line: LogLine) -> Response<DownloadBody> {
        let mut response = Response::new(StreamBody::new(LoggedChunks { chunks: self.chunks, line }));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        if let Ok(name) = HeaderValue::from_str(&format!("attachment; filename=\"{}\"", self.file_name)) {
            headers.insert(header::CONTENT_DISPOSITION, name);
        }
        response
    }
}

/// The chunks of a body. The request's line is logged after the last chunk was sent, or after the first failure.
pub struct LoggedChunks {
    chunks: Chunks,
    line: LogLine,
}

/// The log line of a request whose body is not sent yet. It is written once; dropping it logs that the caller went away.
pub(crate) struct LogLine {
    pub(crate) invocation: Invocation,
    pub(crate) written: bool,
}

impl LogLine {
    pub(crate) fn write(&mut self, status: StatusCode, error: Option<&ApiError>) {
        self.written = true;
        self.invocation.answered(status, error);
    }
}

impl Drop for LogLine {
    fn drop(&mut self) {
        if !self.written {
            let abandoned = ApiError::new(StatusCode::OK, "abandoned", "The caller went away.");
            self.write(StatusCode::OK, Some(&abandoned));
        }
    }
}

impl Stream for LoggedChunks {
    type Item = Result<Frame<Bytes>, Broken>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(match ready!(self.chunks.as_mut().poll_next(context)) {
            Some(Ok(chunk)) => Some(Ok(Frame::data(chunk.into()))),
            Some(Err(error)) => {
                self.line.write(error.status(), Some(&error));
                Some(Err(Broken))
            }
            None => {
                if !self.line.written {
                    self.line.write(StatusCode::OK, None);
                }
                None
            }
        })
    }
}

/// The rest of a file cannot be read. What was sent is not all, and must not look complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the rest of the file cannot be read")
    }
}

impl Error for Broken {}
