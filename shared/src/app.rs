//! The life of a sandbox and of a request: start once; then verify, scope, handle, commit, answer.
use std::future::ready;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use http_body_util::BodyExt;
use lambda_http::http::{HeaderValue, header};
use lambda_http::request::RequestContext;
use lambda_http::tower::ServiceExt;
use lambda_http::{Body, IntoResponse, Request, RequestExt, Response, Service};

use crate::answer::Answer;
use crate::auth::{ClerkConfig, KeySource, Verifier};
use crate::clock::Clock;
use crate::config::{Settings, StartupError};
use crate::ctx::Ctx;
use crate::db::{Database, Login};
use crate::download::{Broken, Download, DownloadBody, LogLine};
use crate::error::ApiError;
use crate::route::{Caller, Route};
use crate::telemetry::{self, Invocation};

/// What a sandbox keeps between requests.
pub struct App {
    route: &'static Route,
    settings: Arc<Settings>,
    clock: Clock,
    verifier: Option<Verifier>,
    database: Database,
    /// Until the first request.
    is_cold: AtomicBool,
}

impl App {
    /// Starts the sandbox: telemetry, settings, Clerk's keys, and a connection to the database, ahead of the
    /// first request. It lives as long as the process.
    ///
    /// # Errors
    /// When a setting is missing or unusable, or the login user could bypass row-level security.
    pub async fn start(route: &'static Route) -> Result<&'static Self, StartupError> {
        telemetry::init();
        let app: &'static Self =
            Box::leak(Box::new(Self::new(route, Settings::from_env(), Clock::system()).await?));
        let keys = async {
            if let Some(verifier) = &app.verifier {
                verifier.warm().await;
            }
        };
        let ((), connected) = tokio::join!(keys, connect(&app.database, route.login));
        connected?;
        Ok(app)
    }

    /// An app that has connected to nothing yet: what [`App::start`] warms up, and what tests use.
    ///
    /// # Errors
    /// When a setting is missing or unusable.
    pub async fn new(route: &'static Route, settings: Settings, clock: Clock) -> Result<Self, StartupError> {
        let settings = Arc::new(settings);
        let verifier = match route.caller {
            Caller::Member => Some(verifier(&settings, clock.clone()).await?),
            Caller::Public => None,
        };
        let database = Database::new(settings.clone(), route.login).await?;
        Ok(Self { route, settings, clock, verifier, database, is_cold: AtomicBool::new(true) })
    }

    /// The settings, for what one function needs alone.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Answers one request with `handle`, whatever happens in it, and writes one line about it to the log.
    ///
    /// # Errors
    /// Never; the type is the runtime's.
    pub async fn respond(
        &self,
        request: Request,
        handle: impl AsyncFnOnce(&Ctx<'_>) -> Result<Answer, ApiError>,
    ) -> Result<Response<Body>, lambda_http::Error> {
        let invocation = self.invocation(&request);
        let outcome = handle(&self.ctx(&request, &invocation)).await;
        let outcome = outcome.map(|answer| answer.resolved(self.route.constraints));
        let outcome = outcome.map_err(|error| error.resolved(self.route.constraints));
        let (status, error) = match &outcome {
            Ok(answer) => (answer.status(), answer.failure()),
            Err(error) => (error.status(), Some(error)),
        };
        invocation.answered(status, error);

        Ok(private(match outcome {
            Ok(answer) => answer.into_response(),
            Err(error) => error.into_response(&invocation.request_id),
        }))
    }

    /// The same for a file: an error before its first bytes is a problem like any other, and a later one ends the body
    /// with [`Broken`]. The line is written when the body has left.
    ///
    /// # Errors
    /// Never; the type is the runtime's.
    pub async fn respond_with_file(
        &self,
        request: Request,
        handle: impl AsyncFnOnce(&Ctx<'_>) -> Result<Download, ApiError>,
    ) -> Result<Response<DownloadBody>, lambda_http::Error> {
        let invocation = self.invocation(&request);
        let outcome = handle(&self.ctx(&request, &invocation)).await;
        let outcome = outcome.map_err(|error| error.resolved(self.route.constraints));
        let mut line = LogLine { invocation, written: false };
        Ok(private(match outcome {
            Ok(file) => file.into_response(line),
            Err(error) => {
                line.write(error.status(), Some(&error));
                let problem = error.into_response(&line.invocation.request_id);
                problem.map(|body| Download::problem_body(body.to_vec(), line))
            }
        }))
    }

    fn invocation(&self, request: &Request) -> Invocation {
        let trace = request.lambda_context_ref().and_then(|context| context.xray_trace_id.as_deref());
        Invocation::new(self.route.name, request_id(request), trace, &self.is_cold)
    }

    fn ctx<'a>(&'a self, request: &'a Request, invocation: &'a Invocation) -> Ctx<'a> {
        Ctx {
            request,
            verifier: self.verifier.as_ref(),
            database: &self.database,
            clock: &self.clock,
            invocation,
        }
    }
}

/// Starts to answer.
///
/// # Errors
/// When the runtime cannot go on.
pub async fn run<S>(service: S) -> Result<(), lambda_http::Error>
where
    S: Service<Request, Response = Response<Body>, Error = lambda_http::Error> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    lambda_http::run_concurrent(service.map_response(Whole)).await
}

/// An answer whose body is text or bytes already. The runtime would gather and decode the body of a bare [`Response`]
/// again, as if it were a stream.
struct Whole(Response<Body>);

impl IntoResponse for Whole {
    fn into_response(self) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>> {
        Box::pin(ready(self.0))
    }
}

/// Starts to answer with files that leave as they are made.
///
/// A file that breaks takes the process with it: the runtime writes a stream's error into the body and ends it as if it
/// were whole (lambda_runtime 1.5, `EventCompletionRequest`), while a process that is gone leaves a transfer that the
/// caller sees broken. Lambda starts the next sandbox.
///
/// # Errors
/// When the runtime cannot go on.
pub async fn run_streaming<F>(
    respond: impl Fn(Request) -> F + Clone + Send + 'static,
) -> Result<(), lambda_http::Error>
where
    F: Future<Output = Result<Response<DownloadBody>, lambda_http::Error>> + Send + 'static,
{
    let or_exit = |Broken| -> Broken { std::process::exit(1) };
    let whole_or_none = move |request| {
        let response = respond(request);
        async move { response.await.map(|response| response.map(|body| body.map_err(or_exit))) }
    };
    lambda_http::run_with_streaming_response_concurrent(lambda_http::service_fn(whole_or_none)).await
}

/// An answer holds one caller's data, so no cache may keep it.
fn private<B>(mut response: Response<B>) -> Response<B> {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Opens the first connection of a sandbox, and closes them all when Lambda takes it away.
pub(crate) async fn connect(database: &'static Database, login: Login) -> Result<(), StartupError> {
    let warm = database.warm().await;
    warm.map_err(|error| StartupError::Invalid(login.setting(), error.to_string()))?;
    lambda_runtime::spawn_graceful_shutdown_handler(async || database.close()).await;
    Ok(())
}

async fn verifier(settings: &Settings, clock: Clock) -> Result<Verifier, StartupError> {
    let issuer = settings.required("CLERK_ISSUER").await?;
    let keys = match settings.optional("CLERK_JWT_KEY").await? {
        Some(pem) => KeySource::Pem(pem),
        None => {
            let url = settings.optional("CLERK_JWKS_URL").await?;
            KeySource::Jwks(url.unwrap_or_else(|| format!("{issuer}/.well-known/jwks.json")))
        }
    };
    let parties = settings.required("CLERK_AUTHORIZED_PARTIES").await?;
    let authorized_parties = parties.split(',').map(|origin| origin.trim().to_owned()).collect();
    Verifier::new(ClerkConfig { issuer, keys, authorized_parties }, clock).map_err(|error| {
        StartupError::Invalid("CLERK_ISSUER, CLERK_JWT_KEY or CLERK_AUTHORIZED_PARTIES", error.to_string())
    })
}

/// The id that API Gateway also returns to the caller, or the invocation's own where there is no gateway.
pub(crate) fn request_id(request: &Request) -> String {
    let gateway = match request.request_context_ref() {
        Some(RequestContext::ApiGatewayV2(context)) => context.request_id.clone(),
        _ => None,
    };
    let invocation = || request.lambda_context_ref().map(|context| context.request_id.clone());
    gateway.or_else(invocation).unwrap_or_default()
}
