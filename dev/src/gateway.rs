//! What API Gateway and the function URLs are on AWS, on one port of this machine: it makes events of requests, and
//! answers with what the registry's functions return for them, all in this process.
//!
//! | module | holds |
//! |---|---|
//! | `routes` | which function a method and a path belong to |
//! | `event` | a request as the event that AWS makes of it |
//! | `functions` | a sandbox of each function |
//! | [`cors`] | what the gateway, and not a function, says to a browser of another origin |
pub mod cors;
mod event;
mod functions;
mod routes;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{ACCESS_CONTROL_REQUEST_METHOD, HeaderName, HeaderValue, ORIGIN};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use shared::endpoint::AnyBody;
use shared::{ApiError, Front};
use tokio::net::TcpListener;
use tokio::time::timeout;

use self::cors::Cors;
use self::event::request_id;
use self::functions::{Failure, Functions};
use self::routes::{Found, Routes};
use crate::http;

/// The most bytes of a request's body: HTTP API quotas, "Payload size".
const MAX_BODY_BYTES: usize = 10 * 1024 * 1024;

/// The most bytes of an event, and of an answer that does not stream: Lambda quotas, "Invocation payload".
const MAX_PAYLOAD_BYTES: usize = 6 * 1024 * 1024;

/// How long API Gateway waits for a function: HTTP API quotas, "Maximum integration timeout".
const INTEGRATION_TIMEOUT: Duration = Duration::from_secs(30);

/// What stands before and behind a function's name in the path of Lambda's Invoke API.
const INVOKE: [&str; 2] = ["/2015-03-31/functions/", "/invocations"];

/// The gateway with a sandbox of each function behind it.
pub struct Gateway {
    functions: Functions,
    routes: Routes,
    /// Of the frontends, which the API's CORS allows.
    origins: Vec<String>,
}

impl Gateway {
    /// Starts every function with these settings; none of them connects to anything yet.
    ///
    /// # Errors
    /// When a setting of a function is missing or unusable.
    pub async fn start(settings: Vec<(String, String)>) -> Result<Self> {
        let origins = settings.iter().find(|(name, _)| name == "CLERK_AUTHORIZED_PARTIES");
        let origins = origins.iter().flat_map(|(_, origins)| origins.split(','));
        let origins = origins.map(|origin| origin.trim().to_owned()).collect();
        Ok(Self { functions: Functions::start(settings).await?, routes: Routes::of_registry()?, origins })
    }

    /// Answers until the listener fails.
    ///
    /// # Errors
    /// When the listener accepts no more connections.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) -> io::Result<()> {
        http::serve(listener, move |request, caller| {
            let gateway = Arc::clone(&self);
            async move { gateway.answer(request, caller).await }
        })
        .await
    }

    async fn answer(&self, request: Request<Incoming>, caller: SocketAddr) -> Response<AnyBody> {
        let (head, body) = request.into_parts();
        let body = match gathered(body).await {
            Ok(body) => body,
            // The client has gone, so no answer would be read.
            Err(_) => return whole(message(StatusCode::BAD_REQUEST, "Bad Request")),
        };
        if let Some(function) = invoked(&head) {
            return whole(self.invoke(function, body).await);
        }
        let found = self.routes.find(&head.method, head.uri.path());
        let front = found.as_ref().map_or_else(|| self.front_asked_for(&head), |found| found.target.front);
        let id = request_id(front);
        let mut response = match (found, body) {
            (_, Body::TooLarge) => whole(message(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large")),
            (Some(found), Body::Whole(body)) => {
                let event = event::of(&head, &body, caller, &found, &id);
                self.routed(&found, event).await
            }
            (None, _) => match Cors::of(front) {
                Some(cors) if head.method == Method::OPTIONS => {
                    whole(cors.preflight(self.allowed_origin(&head)))
                }
                _ => ApiError::not_found()
                    .into_response(&id)
                    .map(|body| body.map_err(Into::into).boxed_unsync()),
            },
        };
        let name = if is_url(front) { "x-amzn-requestid" } else { "apigw-requestid" };
        let headers = response.headers_mut();
        headers.extend(HeaderValue::try_from(id).ok().map(|id| (HeaderName::from_static(name), id)));
        if let Some(cors) = Cors::of(front)
            && head.method != Method::OPTIONS
        {
            cors.decorate(headers, self.allowed_origin(&head));
        }
        response
    }

    /// The front of what a preflight asks for. What is nowhere else is the API's.
    fn front_asked_for(&self, head: &Parts) -> Front {
        let asked = head.headers.get(ACCESS_CONTROL_REQUEST_METHOD);
        let asked = asked.and_then(|method| Method::from_bytes(method.as_bytes()).ok());
        let found = asked.and_then(|method| self.routes.find(&method, head.uri.path()));
        found.map_or(Front::Api, |found| found.target.front)
    }

    /// The caller's origin, if it is one of the frontends'.
    fn allowed_origin<'a>(&self, head: &'a Parts) -> Option<&'a HeaderValue> {
        let origin = head.headers.get(ORIGIN)?;
        self.origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()).then_some(origin)
    }

    /// What the function of a route answers, as its caller gets it.
    async fn routed(&self, found: &Found<'_>, event: Value) -> Response<AnyBody> {
        let (function, front) = (found.target.function, found.target.front);
        let event = event.to_string();
        if event.len() > MAX_PAYLOAD_BYTES {
            return whole(message(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large"));
        }
        let answer = self.functions.respond(function, event);
        match front {
            Front::StreamingUrl => answer.await.unwrap_or_else(|failure| failed(front, function, &failure)),
            Front::Url => gathered_answer(answer.await, front, function).await,
            // The function goes on, and API Gateway does not wait for it.
            Front::Api | Front::FormApi => match timeout(INTEGRATION_TIMEOUT, answer).await {
                Ok(answer) => gathered_answer(answer, front, function).await,
                Err(_) => whole(message(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable")),
            },
        }
    }

    /// Lambda's Invoke API: the body is the event, and the answer what the function returns to the runtime.
    async fn invoke(&self, function: &str, body: Body) -> Response<Full<Bytes>> {
        let event = match body {
            Body::Whole(body) if body.len() <= MAX_PAYLOAD_BYTES => body,
            _ => return message(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large"),
        };
        let Ok(event) = serde_json::from_slice(&event) else {
            return message(StatusCode::BAD_REQUEST, "Could not parse request body into json");
        };
        match self.functions.invoke(function, event).await {
            Some(Ok(payload)) => http::json(StatusCode::OK, payload.to_string()),
            Some(Err(failure)) => {
                let mut response = http::json(StatusCode::OK, failure.payload().to_string());
                let unhandled = HeaderValue::from_static("Unhandled");
                response.headers_mut().insert("x-amz-function-error", unhandled);
                response
            }
            None => message(StatusCode::NOT_FOUND, &format!("Function not found: {function}")),
        }
    }
}

/// A request's body.
enum Body {
    Whole(Bytes),
    TooLarge,
}

/// Reads a body to its end, although nothing is kept of one that is too large: a caller that is still sending would not
/// read the answer.
async fn gathered(mut body: Incoming) -> hyper::Result<Body> {
    let (mut kept, mut length) = (BytesMut::new(), 0);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        length += data.len();
        if length <= MAX_BODY_BYTES {
            kept.extend_from_slice(&data);
        }
    }
    Ok(if length > MAX_BODY_BYTES { Body::TooLarge } else { Body::Whole(kept.freeze()) })
}

/// The function that a request to the Invoke API names.
fn invoked(head: &Parts) -> Option<&str> {
    let [before, behind] = INVOKE;
    let name = head.uri.path().strip_prefix(before)?.strip_suffix(behind)?;
    (head.method == Method::POST).then_some(name)
}

/// An answer that has to be there as a whole before any of it leaves.
async fn gathered_answer(
    answer: Result<Response<AnyBody>, Failure>,
    front: Front,
    function: &str,
) -> Response<AnyBody> {
    let gathered = async {
        let (head, body) = answer?.into_parts();
        let body = body.collect().await.map_err(|error| Failure::new(&*error))?.to_bytes();
        if body.len() > MAX_PAYLOAD_BYTES {
            let why = format!("an answer of {} bytes is larger than Lambda allows", body.len());
            return Err(Failure { kind: "Function.ResponseSizeTooLarge", message: why });
        }
        Ok(whole(Response::from_parts(head, Full::new(body))))
    };
    gathered.await.unwrap_or_else(|failure| failed(front, function, &failure))
}

/// What a caller gets when the function has failed; why goes to the terminal.
fn failed(front: Front, function: &str, failure: &Failure) -> Response<AnyBody> {
    eprintln!("  ! {function}: {}", failure.message);
    let status = if is_url(front) { StatusCode::BAD_GATEWAY } else { StatusCode::INTERNAL_SERVER_ERROR };
    whole(message(status, "Internal Server Error"))
}

fn is_url(front: Front) -> bool {
    matches!(front, Front::Url | Front::StreamingUrl)
}

/// An answer of AWS's own.
fn message(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    http::json(status, json!({ "message": text }).to_string())
}

fn whole(response: Response<Full<Bytes>>) -> Response<AnyBody> {
    response.map(|body| body.map_err(|never| match never {}).boxed_unsync())
}
