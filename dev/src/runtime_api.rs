//! A stand-in for AWS Lambda's Runtime API: the endpoint from which one function's process takes its events.
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use jiff::{SignedDuration, Timestamp};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;

/// The time that a function has for an event, by the deadline it gets with the event.
const TIMEOUT: SignedDuration = SignedDuration::from_secs(10);

/// X-Ray's id of every invocation.
pub const TRACE_ID: &str = "1-6b000c10-0e6d83a5f2b94717c8d15e42";

/// The function that every invocation is of.
const ARN: &str = "arn:aws:lambda:eu-north-1:123456789012:function:local";

/// The endpoint of one sandbox, which serves until the runtime ends.
#[derive(Debug)]
pub struct RuntimeApi {
    address: SocketAddr,
    events: mpsc::UnboundedSender<Invocation>,
    first_request: watch::Receiver<Option<Instant>>,
}

/// The function's answer to one event.
#[derive(Debug)]
pub struct Answer {
    /// The body as the function sent it: JSON, or for a stream a prelude in JSON, eight NULs and the body.
    pub body: Bytes,
    /// Whether the function streamed it.
    pub is_stream: bool,
    /// Whether it came to its end; a stream that breaks does not.
    pub is_whole: bool,
    /// The time from the event's handover to the answer's end, which Lambda bills.
    pub took: Duration,
    /// When its end arrived.
    pub arrived_at: Instant,
}

#[derive(Debug)]
struct Invocation {
    event: Bytes,
    answer: oneshot::Sender<Answer>,
}

struct Endpoint {
    waiting: tokio::sync::Mutex<mpsc::UnboundedReceiver<Invocation>>,
    /// By their request ids, with the time of their handover.
    under_way: Mutex<HashMap<String, (Instant, oneshot::Sender<Answer>)>>,
    first_request: watch::Sender<Option<Instant>>,
}

impl RuntimeApi {
    /// Serves on a free port of this machine.
    ///
    /// # Errors
    /// When no port is to be had.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (events, waiting) = mpsc::unbounded_channel();
        let (asked, first_request) = watch::channel(None);
        let waiting = tokio::sync::Mutex::new(waiting);
        let endpoint = Endpoint { waiting, under_way: Mutex::default(), first_request: asked };
        tokio::spawn(serve(listener, Arc::new(endpoint)));
        Ok(Self { address, events, first_request })
    }

    /// The variables by which Lambda introduces itself to the process of a function.
    #[must_use]
    pub fn environment(&self, function: &str) -> [(&'static str, String); 4] {
        [
            ("AWS_LAMBDA_RUNTIME_API", self.address.to_string()),
            ("AWS_LAMBDA_FUNCTION_NAME", function.to_owned()),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256".to_owned()),
        ]
    }

    /// Waits until the process has asked for an event, and returns when it first did.
    ///
    /// # Errors
    /// When the endpoint has ended.
    pub async fn first_request(&self) -> Result<Instant> {
        let mut first_request = self.first_request.clone();
        let asked = *first_request.wait_for(Option::is_some).await.context("the endpoint has ended")?;
        asked.context("the endpoint has ended")
    }

    /// Gives the process an event, at once or when it asks for one, and waits for the answer. Events given at the same
    /// time go to the process as it asks for them.
    ///
    /// # Errors
    /// When the endpoint has ended. A process that ends leaves this waiting.
    pub async fn invoke(&self, event: Bytes) -> Result<Answer> {
        let (answer, answered) = oneshot::channel();
        self.events.send(Invocation { event, answer }).ok().context("the endpoint has ended")?;
        answered.await.context("the endpoint has ended")
    }
}

async fn serve(listener: TcpListener, endpoint: Arc<Endpoint>) {
    while let Ok((stream, _)) = listener.accept().await {
        // Without it an answer may wait for the acknowledgement of its head.
        let _ = stream.set_nodelay(true);
        let endpoint = Arc::clone(&endpoint);
        let service = service_fn(move |request| {
            let endpoint = Arc::clone(&endpoint);
            async move { Ok::<_, Infallible>(endpoint.respond(request).await) }
        });
        // A process that ends breaks its connections.
        tokio::spawn(async {
            http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok()
        });
    }
}

impl Endpoint {
    async fn respond(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let path: Vec<&str> = head.uri.path().split('/').skip(2).collect();
        match (head.method, path.as_slice()) {
            (Method::GET, ["runtime", "invocation", "next"]) => self.next().await,
            (Method::POST, ["runtime", "invocation", id, "response" | "error"]) => {
                let is_stream = head.headers.contains_key("lambda-runtime-function-response-mode");
                let (body, is_whole) = read(body).await;
                self.answer(id, body, is_stream, is_whole);
                with_status(StatusCode::ACCEPTED)
            }
            (Method::POST, ["runtime", "init", "error"]) => with_status(StatusCode::ACCEPTED),
            // A function that handles SIGTERM registers as an extension, and waits for events that never come.
            (Method::POST, ["extension", "register"]) => {
                let registered = r#"{"functionName":"local","functionVersion":"1","handler":"bootstrap"}"#;
                let mut response = Response::new(registered.into());
                let identifier = HeaderValue::from_static("extension");
                response.headers_mut().insert("lambda-extension-identifier", identifier);
                response
            }
            (Method::GET, ["extension", "event", "next"]) => std::future::pending().await,
            _ => with_status(StatusCode::NOT_FOUND),
        }
    }

    async fn next(&self) -> Response<Full<Bytes>> {
        self.first_request.send_if_modified(|at| {
            let is_first = at.is_none();
            at.get_or_insert_with(Instant::now);
            is_first
        });
        let Some(Invocation { event, answer }) = self.waiting.lock().await.recv().await else {
            return std::future::pending().await;
        };
        let id = Uuid::new_v4().to_string();
        let deadline = (Timestamp::now() + TIMEOUT).as_millisecond();
        let response = Response::builder()
            .header(CONTENT_TYPE, "application/json")
            .header("lambda-runtime-aws-request-id", &id)
            .header("lambda-runtime-deadline-ms", deadline)
            .header("lambda-runtime-trace-id", format!("Root={TRACE_ID};Parent=53995c3f42cd8ad8;Sampled=1"))
            .header("lambda-runtime-invoked-function-arn", ARN)
            .body(Full::from(event));
        self.under_way().insert(id, (Instant::now(), answer));
        response.unwrap_or_default()
    }

    fn answer(&self, id: &str, body: Bytes, is_stream: bool, is_whole: bool) {
        let arrived_at = Instant::now();
        if let Some((handed, answer)) = self.under_way().remove(id) {
            let took = arrived_at.duration_since(handed);
            // A caller that has stopped waiting needs no answer.
            let _ = answer.send(Answer { body, is_stream, is_whole, took, arrived_at });
        }
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<String, (Instant, oneshot::Sender<Answer>)>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bytes that came, and whether they came to their end.
async fn read(mut body: Incoming) -> (Bytes, bool) {
    let mut pieces = Vec::new();
    let is_whole = loop {
        match body.frame().await {
            Some(Ok(frame)) => pieces.extend(frame.into_data()),
            Some(Err(_)) => break false,
            None => break true,
        }
    };
    (pieces.concat().into(), is_whole)
}

fn with_status(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::default();
    *response.status_mut() = status;
    response
}
