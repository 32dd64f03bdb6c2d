//! A function that answers with files which were built into it: it knows no caller, no database and no secret.
use std::sync::atomic::AtomicBool;

use lambda_http::http::{HeaderValue, header};
use lambda_http::{Body, Request, RequestExt, Response, service_fn};

use crate::app::{request_id, run};
use crate::error::{ApiError, StatusCode};
use crate::telemetry::{self, Invocation};

/// For how long a file may be kept, in seconds: it changes with a deployment.
const CACHE_CONTROL: &str = "public, max-age=300";
/// A page of ours runs its own scripts, talks to its own origin, and stands in no frame. The viewer's style sheet holds
/// its icons, as data.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Until the first request of this process.
static IS_COLD: AtomicBool = AtomicBool::new(true);

/// One such function.
#[derive(Debug)]
pub struct Files {
    /// Folder, package, binary, event and test.
    pub name: &'static str,
    /// What it does, for the table of routes.
    pub summary: &'static str,
    /// What it answers `GET` with.
    pub files: &'static [File],
}

/// One file.
#[derive(Debug)]
pub struct File {
    /// Its path.
    pub path: &'static str,
    /// Its content type.
    pub content_type: &'static str,
    /// The bytes that are sent.
    pub body: &'static [u8],
    /// Whether the bytes are gzip, which every browser reads. Only browsers ask for such a file.
    pub is_gzip: bool,
}

impl Files {
    /// Answers requests until Lambda takes the sandbox away.
    ///
    /// # Errors
    /// When the runtime cannot go on.
    pub async fn serve(&'static self) -> Result<(), lambda_http::Error> {
        telemetry::init();
        let respond = async |request: Request| Ok::<_, lambda_http::Error>(self.respond(&request));
        run(service_fn(respond)).await
    }

    /// Answers one request, and writes one line about it to the log.
    #[must_use]
    pub fn respond(&self, request: &Request) -> Response<Body> {
        let trace = request.lambda_context_ref().and_then(|context| context.xray_trace_id.as_deref());
        let invocation = Invocation::new(self.name, request_id(request), trace, &IS_COLD);
        let file = self.files.iter().find(|file| file.path == request.uri().path());
        let (status, error) = match file {
            Some(_) => (StatusCode::OK, None),
            None => (StatusCode::NOT_FOUND, Some(ApiError::not_found())),
        };
        invocation.answered(status, error.as_ref());

        let mut response = match (file, error) {
            (Some(file), _) => file.to_response(),
            (None, error) => error.unwrap_or_else(ApiError::not_found).into_response(&invocation.request_id),
        };
        response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }
}

impl File {
    fn to_response(&self) -> Response<Body> {
        let body = match str::from_utf8(self.body) {
            Ok(text) => Body::Text(text.to_owned()),
            Err(_) => Body::Binary(self.body.to_vec()),
        };
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(CACHE_CONTROL));
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY));
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        if self.is_gzip {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }
}
