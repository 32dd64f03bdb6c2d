//! A sandbox of each function in this process.
use std::collections::HashMap;
use std::error::Error;
use std::future::ready;
use std::time::Duration;

use anyhow::{Context, Result};
use http_body_util::BodyExt;
use hyper::Response;
use hyper::header::SET_COOKIE;
use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpResponse;
use lambda_http::{Body, request};
use registry::Function;
use serde_json::{Value, json};
use shared::chain::chain;
use shared::clock::Clock;
use shared::config::Settings;
use shared::endpoint::{AnyBody, Service};
use shared::job::Scheduled;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// Connections of each function, so that one sandbox stands for as many as Lambda would start.
const CONCURRENCY: &str = "4";

/// How long a function that answers with files may take.
const FILES_TIMEOUT: Duration = Duration::from_secs(10);

/// What can be invoked, by name.
pub(super) struct Functions {
    sandboxes: HashMap<&'static str, Sandbox>,
    settings: Vec<(String, String)>,
}

enum Sandbox {
    Answering(Service, Duration),
    Scheduled(Scheduled),
}

/// A function that did not answer.
pub(super) struct Failure {
    pub(super) kind: &'static str,
    pub(super) message: String,
}

impl Failure {
    pub(super) fn new(error: &(dyn Error + 'static)) -> Self {
        Self { kind: "Runtime.Error", message: chain(error) }
    }

    /// As Lambda returns it to the caller of its Invoke API.
    pub(super) fn payload(&self) -> Value {
        json!({ "errorType": self.kind, "errorMessage": self.message })
    }
}

impl Functions {
    /// # Errors
    /// When a setting is missing or unusable.
    pub(super) async fn start(mut settings: Vec<(String, String)>) -> Result<Self> {
        settings.push(("AWS_LAMBDA_MAX_CONCURRENCY".to_owned(), CONCURRENCY.to_owned()));
        let mut sandboxes = HashMap::new();
        for (_, function) in registry::functions() {
            let sandbox = match function {
                Function::Route(endpoint) => {
                    let service =
                        (endpoint.start)(Settings::from_variables(settings.clone()), Clock::system()).await;
                    let service = service.with_context(|| format!("start {}", function.name()))?;
                    Sandbox::Answering(service, Duration::from_secs(endpoint.route.timeout_seconds.into()))
                }
                Function::Files(files) => {
                    let files = *files;
                    Sandbox::Answering(
                        Service::new(move |request| ready(Ok(files.respond(&request)))),
                        FILES_TIMEOUT,
                    )
                }
                Function::Schedule(scheduled) => Sandbox::Scheduled(*scheduled),
                // It is CloudFormation's, and would answer to an address in its event.
                Function::Deployment(_) => continue,
            };
            sandboxes.insert(function.name(), sandbox);
        }
        Ok(Self { sandboxes, settings })
    }

    /// What the function of a route, or of files, answers to an event.
    pub(super) async fn respond(&self, function: &str, event: String) -> Result<Response<AnyBody>, Failure> {
        match self.sandboxes.get(function) {
            Some(Sandbox::Answering(service, limit)) => respond(service.clone(), *limit, event).await,
            _ => Err(Failure { kind: "Runtime.NoSuchRoute", message: format!("{function} has no route") }),
        }
    }

    /// What any function returns for an event, as its binary says it to the runtime; `None` if there is no such function.
    pub(super) async fn invoke(&self, function: &str, event: Value) -> Option<Result<Value, Failure>> {
        Some(match self.sandboxes.get(function)? {
            Sandbox::Answering(service, limit) => {
                match respond(service.clone(), *limit, event.to_string()).await {
                    Ok(response) => payload(response).await,
                    Err(failure) => Err(failure),
                }
            }
            Sandbox::Scheduled(scheduled) => self.run(*scheduled, event).await,
        })
    }

    /// A run cannot move between threads, so it gets one.
    async fn run(&self, scheduled: Scheduled, event: Value) -> Result<Value, Failure> {
        let settings = Settings::from_variables(self.settings.clone());
        let run = spawn_blocking(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            anyhow::Ok(runtime.block_on((scheduled.run)(settings, Clock::system(), event)))
        });
        match run.await {
            Ok(Ok(Ok(payload))) => Ok(payload),
            Ok(Ok(Err(error))) => Err(Failure { kind: scheduled.schedule.name, message: chain(&error) }),
            Ok(Err(error)) => Err(Failure::new(&*error)),
            Err(panic) => Err(Failure::new(&panic)),
        }
    }
}

/// In a task of its own: a panic costs one request, and a caller that goes away ends nothing, as on Lambda.
async fn respond(service: Service, limit: Duration, event: String) -> Result<Response<AnyBody>, Failure> {
    let mut task = tokio::spawn(async move { service.respond(request::from_str(&event)?).await });
    match timeout(limit, &mut task).await {
        Ok(Ok(answer)) => answer.map_err(|error| Failure::new(&*error)),
        Ok(Err(panic)) => Err(Failure::new(&panic)),
        Err(_) => {
            task.abort();
            let message = format!("Task timed out after {:.2} seconds", limit.as_secs_f64());
            Err(Failure { kind: "Sandbox.Timedout", message })
        }
    }
}

/// An answer as `lambda_http` writes it. A streamed answer is written like the others, although a caller of the binary
/// gets it as a prelude and bytes.
async fn payload(response: Response<AnyBody>) -> Result<Value, Failure> {
    let (mut head, body) = response.into_parts();
    let body = body.collect().await.map_err(|error| Failure::new(&*error))?.to_bytes();
    let cookies = head.headers.get_all(SET_COOKIE).iter();
    let cookies = cookies.map(|cookie| String::from_utf8_lossy(cookie.as_bytes()).into_owned()).collect();
    head.headers.remove(SET_COOKIE);
    let mut payload = ApiGatewayV2httpResponse::default();
    payload.status_code = head.status.as_u16().into();
    payload.headers = head.headers;
    payload.cookies = cookies;
    (payload.body, payload.is_base64_encoded) = match String::from_utf8(body.into()) {
        Ok(text) if text.is_empty() => (None, false),
        Ok(text) => (Some(Body::Text(text)), false),
        Err(binary) => (Some(Body::Binary(binary.into_bytes())), true),
    };
    serde_json::to_value(payload).map_err(|error| Failure::new(&error))
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    const EVENT: &str = include_str!("../../../events/platform/health.json");

    async fn failure(service: Service, limit: Duration) -> Failure {
        respond(service, limit, EVENT.to_owned()).await.map(|_| ()).unwrap_err()
    }

    #[tokio::test]
    async fn a_panic_costs_one_request() {
        let panics =
            Service::new(|_| async { if true { panic!("no") } else { Ok(Response::new(Body::Empty)) } });
        assert!(failure(panics, FILES_TIMEOUT).await.message.contains("panicked"));
    }

    #[tokio::test]
    async fn a_function_that_takes_too_long_is_ended() {
        let silent = Service::new(|_| pending::<Result<Response<Body>, lambda_http::Error>>());
        let failure = failure(silent, Duration::from_millis(1)).await;
        assert_eq!(
            (failure.kind, &*failure.message),
            ("Sandbox.Timedout", "Task timed out after 0.00 seconds")
        );
    }
}
