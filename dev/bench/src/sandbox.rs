//! What AWS Lambda is to a function: a process with an environment, and a Runtime API endpoint that hands it events.
use std::convert::Infallible;
use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use dev::process::kill;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use jiff::{SignedDuration, Timestamp};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// How long a function may take for an event, as its process is told.
const TIMEOUT: SignedDuration = SignedDuration::from_secs(10);

/// A process that has not answered by now never will.
const PATIENCE: Duration = Duration::from_secs(20);

/// The memory that the function is told to have, in MB.
const MEMORY_MB: &str = "256";

/// One running process of a function, which has one event at a time.
#[derive(Debug)]
pub(crate) struct Sandbox {
    process: Child,
    started: Instant,
    events: mpsc::UnboundedSender<Handed>,
    asked: mpsc::UnboundedReceiver<Instant>,
    log: String,
}

/// What the function answered, and how long it had the event: what Lambda bills.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) body: Bytes,
    pub(crate) took: Duration,
    pub(crate) came: Instant,
}

type Handed = (Bytes, oneshot::Sender<Answer>);

struct Endpoint {
    waiting: tokio::sync::Mutex<mpsc::UnboundedReceiver<Handed>>,
    under_way: Mutex<Option<(Instant, oneshot::Sender<Answer>)>>,
    asked: mpsc::UnboundedSender<Instant>,
}

impl Sandbox {
    /// Starts a program as Lambda starts a function; what it complains of goes to a file in `logs`.
    pub(crate) async fn start(
        name: &str,
        command: &[&Path],
        environment: &[(String, String)],
        logs: &Path,
    ) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (events, waiting) = mpsc::unbounded_channel();
        let (asking, asked) = mpsc::unbounded_channel();
        let (waiting, under_way) = (tokio::sync::Mutex::new(waiting), Mutex::default());
        tokio::spawn(serve(listener, Arc::new(Endpoint { waiting, under_way, asked: asking })));

        let log = logs.join(format!("{name}.log"));
        let errors = File::options().create(true).append(true).open(&log)?;
        let (program, arguments) = command.split_first().context("no program")?;
        let mut process = Command::new(program);
        process.args(arguments).env_clear().envs(environment.iter().cloned());
        process
            .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", name)
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", MEMORY_MB)
            .env("AWS_REGION", "eu-north-1");
        process.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors).kill_on_drop(true);
        let started = Instant::now();
        let process = process.spawn().with_context(|| format!("start {name}"))?;
        Ok(Self { process, started, events, asked, log: format!("target/bench/logs/{name}.log") })
    }

    /// How long it took from its start until it first asked for an event.
    pub(crate) async fn ready_after(&mut self) -> Result<Duration> {
        let asked = self.or_ended(async |asked| asked.recv().await).await?;
        Ok(asked.context("the endpoint has ended")?.duration_since(self.started))
    }

    /// Hands it an event, now or when it asks, and waits for its answer, which has to be a success.
    pub(crate) async fn invoke(&mut self, event: Bytes) -> Result<Answer> {
        let (answer, answered) = oneshot::channel();
        self.events.send((event, answer)).ok().context("the endpoint has ended")?;
        let answer = self.or_ended(async move |_| answered.await).await??;
        ensure!(is_success(&answer.body), "it answered {}", String::from_utf8_lossy(&answer.body));
        Ok(answer)
    }

    /// Asks it to end, as Lambda does, and waits until it has.
    pub(crate) async fn terminate(mut self) -> Result<()> {
        ensure!(kill("-TERM", &[self.pid()?]), "the process takes no signal");
        let ended = timeout(PATIENCE, self.process.wait()).await;
        ended.with_context(|| format!("it goes on after {PATIENCE:?}; see {}", self.log))??;
        Ok(())
    }

    /// When it was started.
    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    pub(crate) fn pid(&self) -> Result<u32> {
        self.process.id().context("the process has ended")
    }

    async fn or_ended<T>(
        &mut self,
        wait: impl AsyncFnOnce(&mut mpsc::UnboundedReceiver<Instant>) -> T,
    ) -> Result<T> {
        let Self { process, asked, log, .. } = self;
        tokio::select! {
            done = timeout(PATIENCE, wait(asked)) => {
                done.with_context(|| format!("no answer within {PATIENCE:?}; see {log}"))
            }
            ended = process.wait() => bail!("the process has ended with {}; see {log}", ended?),
        }
    }
}

/// An API Gateway answer begins with its status; reading the rest would be at the cost of what is measured.
fn is_success(answer: &[u8]) -> bool {
    let head = String::from_utf8_lossy(&answer[..answer.len().min(64)]);
    let status = head.split("\"statusCode\":").nth(1).unwrap_or_default();
    status.trim_start().starts_with('2')
}

async fn serve(listener: TcpListener, endpoint: Arc<Endpoint>) {
    while let Ok((stream, _)) = listener.accept().await {
        // Without it an answer may wait for the acknowledgement of its head.
        let _ = stream.set_nodelay(true);
        let endpoint = Arc::clone(&endpoint);
        let service = service_fn(move |request| {
            let endpoint = Arc::clone(&endpoint);
            async move { Ok::<_, Infallible>(endpoint.answer(request).await) }
        });
        // A process that ends breaks its connections.
        tokio::spawn(async {
            http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok()
        });
    }
}

impl Endpoint {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let is_get = request.method() == Method::GET;
        let path = request.uri().path().to_owned();
        match path.split('/').skip(2).collect::<Vec<_>>()[..] {
            ["runtime", "invocation", "next"] if is_get => self.next().await,
            ["runtime", "invocation", _, "response" | "error"] => {
                if let Ok(body) = request.into_body().collect().await {
                    self.answered(body.to_bytes());
                }
                with_status(StatusCode::ACCEPTED)
            }
            ["runtime", "init", "error"] => with_status(StatusCode::ACCEPTED),
            // Whoever wants to be told of SIGTERM registers as an extension, and waits for events that never come.
            ["extension", "register"] => {
                let mut registered = with_status(StatusCode::OK);
                let identifier = hyper::header::HeaderValue::from_static("extension");
                registered.headers_mut().insert("lambda-extension-identifier", identifier);
                *registered.body_mut() =
                    r#"{"functionName":"bench","functionVersion":"1","handler":"bootstrap"}"#.into();
                registered
            }
            ["extension", "event", "next"] => std::future::pending().await,
            _ => with_status(StatusCode::NOT_FOUND),
        }
    }

    async fn next(&self) -> Response<Full<Bytes>> {
        let _ = self.asked.send(Instant::now());
        let Some((event, answer)) = self.waiting.lock().await.recv().await else {
            return std::future::pending().await;
        };
        let deadline = (Timestamp::now() + TIMEOUT).as_millisecond();
        let response = Response::builder()
            .header("content-type", "application/json")
            .header("lambda-runtime-aws-request-id", uuid::Uuid::new_v4().to_string())
            .header("lambda-runtime-deadline-ms", deadline)
            .header("lambda-runtime-trace-id", "Root=1-6b000c10-0e6d83a5f2b94717c8d15e42")
            .header(
                "lambda-runtime-invoked-function-arn",
                "arn:aws:lambda:eu-north-1:123456789012:function:bench",
            )
            .body(Full::from(event));
        *self.under_way() = Some((Instant::now(), answer));
        response.unwrap_or_default()
    }

    fn answered(&self, body: Bytes) {
        let came = Instant::now();
        if let Some((handed, answer)) = self.under_way().take() {
            // Who gave up waiting needs no answer.
            let _ = answer.send(Answer { body, took: came.duration_since(handed), came });
        }
    }

    fn under_way(&self) -> std::sync::MutexGuard<'_, Option<(Instant, oneshot::Sender<Answer>)>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn with_status(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::default();
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_success_counts() {
        assert!(is_success(br#"{"statusCode":200,"headers":{}}"#));
        assert!(is_success(br#"{"isBase64Encoded": false, "statusCode": 202}"#));
        for refused in [r#"{"statusCode":401}"#, r#"{"errorType":"x"}"#, ""] {
            assert!(!is_success(refused.as_bytes()), "{refused}");
        }
    }
}
