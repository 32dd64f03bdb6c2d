//! What AWS Lambda is to a function's process: a Runtime API endpoint that hands it events.
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc, oneshot};

/// How long a function may take for an event, as its process is told.
const TIMEOUT: SignedDuration = SignedDuration::from_secs(10);

/// X-Ray's id of every invocation.
pub const TRACE_ID: &str = "1-6b000c10-0e6d83a5f2b94717c8d15e42";

/// The endpoint of one sandbox.
pub struct RuntimeApi {
    address: SocketAddr,
    events: mpsc::UnboundedSender<Invocation>,
}

struct Invocation {
    event: String,
    answer: oneshot::Sender<Value>,
}

struct State {
    waiting: Mutex<mpsc::UnboundedReceiver<Invocation>>,
    /// By their request ids.
    under_way: Mutex<HashMap<String, oneshot::Sender<Value>>>,
}

impl RuntimeApi {
    /// Serves until the test ends.
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (events, waiting) = mpsc::unbounded_channel();
        let state = Arc::new(State { waiting: Mutex::new(waiting), under_way: Mutex::default() });
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = state.clone();
                let service = service_fn(move |request| {
                    let state = state.clone();
                    async move { Ok::<_, Infallible>(state.answer(request).await) }
                });
                // A process that ends breaks its connections.
                tokio::spawn(async {
                    http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok()
                });
            }
        });
        Self { address, events }
    }

    /// `AWS_LAMBDA_RUNTIME_API`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Gives the process an event, now or when it asks, and waits for what it makes of it.
    pub async fn invoke(&self, event: &Value) -> Value {
        let (answer, answered) = oneshot::channel();
        self.events.send(Invocation { event: event.to_string(), answer }).ok().unwrap();
        answered.await.unwrap()
    }
}

impl State {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let path: Vec<&str> = head.uri.path().split('/').collect();
        match (head.method, &path[2..]) {
            (Method::GET, ["runtime", "invocation", "next"]) => self.next().await,
            (Method::POST, ["runtime", "invocation", id, "response" | "error"]) => {
                let is_stream = head.headers.get("lambda-runtime-function-response-mode").is_some();
                let (body, is_whole) = gathered(body).await;
                let answer = if is_stream {
                    streamed(&body, is_whole)
                } else {
                    serde_json::from_slice(&body).unwrap()
                };
                self.under_way.lock().await.remove(*id).unwrap().send(answer).unwrap();
                accepted()
            }
            // Whoever wants to be told of SIGTERM registers as an extension, and waits for events that never come.
            (Method::POST, ["extension", "register"]) => {
                let body = json!({ "functionName": "test", "functionVersion": "1", "handler": "bootstrap" });
                let response = Response::builder().header("lambda-extension-identifier", "extension");
                response.body(Full::from(body.to_string())).unwrap()
            }
            (Method::GET, ["extension", "event", "next"]) => std::future::pending().await,
            (method, path) => panic!("{method} {path:?} is not the Runtime API"),
        }
    }

    async fn next(&self) -> Response<Full<Bytes>> {
        let Some(Invocation { event, answer }) = self.waiting.lock().await.recv().await else {
            return std::future::pending().await;
        };
        let id = uuid::Uuid::new_v4().to_string();
        let deadline = (Timestamp::now() + TIMEOUT).as_millisecond();
        let response = Response::builder()
            .header("lambda-runtime-aws-request-id", &id)
            .header("lambda-runtime-deadline-ms", deadline)
            .header("lambda-runtime-trace-id", format!("Root={TRACE_ID};Parent=53995c3f42cd8ad8;Sampled=1"))
            .header(
                "lambda-runtime-invoked-function-arn",
                "arn:aws:lambda:eu-north-1:123456789012:function:test",
            )
            .body(Full::from(event))
            .unwrap();
        self.under_way.lock().await.insert(id, answer);
        response
    }
}

/// What came, and whether it came to its end.
async fn gathered(mut body: Incoming) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return (bytes, false) };
        bytes.extend(frame.into_data().unwrap_or_default());
    }
    (bytes, true)
}

/// A streamed answer as a caller gets it: a prelude in JSON, eight NULs, the body.
fn streamed(bytes: &[u8], is_whole: bool) -> Value {
    let end = bytes.windows(8).position(|eight| eight == [0; 8]).unwrap();
    let mut answer: Value = serde_json::from_slice(&bytes[..end]).unwrap();
    answer["body"] = String::from_utf8_lossy(&bytes[end + 8..]).into();
    answer["isWhole"] = is_whole.into();
    answer
}

fn accepted() -> Response<Full<Bytes>> {
    Response::builder().status(202).body(Full::default()).unwrap()
}
