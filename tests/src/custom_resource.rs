//! `migrate-database` as CloudFormation calls it: a request, and an answer to a URL that was signed beforehand.
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};

use super::event;
use super::sandbox::Sandbox;

/// What S3 is to a custom resource: takes one object by PUT, if all is as it was signed.
struct Bucket {
    url: String,
    answers: Mutex<mpsc::UnboundedReceiver<Value>>,
}

impl Bucket {
    /// That is out of order for the first so many attempts.
    async fn start(failures: usize) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}/stack%7Cdatabase?X-Amz-Signature=0", listener.local_addr().unwrap());
        let (answered, answers) = mpsc::unbounded_channel();
        let left = Arc::new(Mutex::new(failures));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answered, left) = (answered.clone(), left.clone());
                let put = service_fn(move |request| {
                    let (answered, left) = (answered.clone(), left.clone());
                    async move { Ok::<_, Infallible>(put(request, &answered, &left).await) }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), put));
            }
        });
        Self { url, answers: Mutex::new(answers) }
    }
}

async fn put(
    request: Request<Incoming>,
    answered: &mpsc::UnboundedSender<Value>,
    failures_left: &Mutex<usize>,
) -> Response<Full<Bytes>> {
    let status = |status: u16| Response::builder().status(status).body(Full::default()).unwrap();
    let signed = request.method() == Method::PUT
        && request.uri().to_string().ends_with("/stack%7Cdatabase?X-Amz-Signature=0")
        && request.headers().get(CONTENT_TYPE).is_none_or(|value| value.is_empty());
    if !signed {
        return status(403);
    }
    if !request.headers().contains_key("content-length") {
        return status(411);
    }
    let mut left = failures_left.lock().await;
    if *left > 0 {
        *left -= 1;
        return status(503);
    }
    let body = request.into_body().collect().await.unwrap().to_bytes();
    answered.send(serde_json::from_slice(&body).unwrap()).unwrap();
    status(200)
}

/// What one sandbox answered to a request of each of these types, and what it logged.
pub async fn migrate_database(
    settings: &HashMap<String, String>,
    types: &[&str],
) -> (Vec<Value>, Vec<Value>, String) {
    // One failure shows that the answer is repeated.
    let bucket = Bucket::start(1).await;
    let mut sandbox = Sandbox::start("migrate-database", settings).await;
    let mut answers = Vec::new();
    for kind in types {
        let request =
            event("migrate-database").with("RequestType", *kind).with("ResponseURL", bucket.url.as_str());
        assert_eq!(sandbox.invoke(&request).await, Value::Null);
        answers.push(bucket.answers.lock().await.recv().await.unwrap());
    }
    let log = String::from_utf8(sandbox.terminate().await.stdout).unwrap();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let lines = lines.filter(|line| line["message"] == "migration").collect();
    (answers, lines, log)
}
