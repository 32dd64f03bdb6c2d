//! A function as another program links it in: the local stack and the tests start it and send it requests, through the
//! code that its own binary runs.
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use lambda_http::{Error, Request, Response};

use crate::clock::Clock;
use crate::config::{Settings, StartupError};
use crate::docs::Operation;
use crate::route::Route;

type Answered = Result<Response<AnyBody>, Error>;
type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A body, whole or streamed. Its error is a stream's that broke: the transfer has to break, too.
pub type AnyBody = UnsyncBoxBody<Bytes, Error>;

/// Answers requests, as the sandbox that was started does. Clones are the same sandbox.
#[derive(Clone)]
pub struct Service(Arc<dyn Fn(Request) -> Boxed<Answered> + Send + Sync>);

impl Service {
    /// A service that answers by `respond`.
    pub fn new<F, B>(respond: impl Fn(Request) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Response<B>, Error>> + Send + 'static,
        B: http_body::Body<Data = Bytes, Error: Into<Error>> + Send + 'static,
    {
        Self(Arc::new(move |request| {
            let response = respond(request);
            Box::pin(async move { Ok(response.await?.map(|body| body.map_err(Into::into).boxed_unsync())) })
        }))
    }

    /// What the function answers.
    ///
    /// # Errors
    /// Never; the type is the runtime's.
    pub async fn respond(&self, request: Request) -> Result<Response<AnyBody>, Error> {
        (self.0)(request).await
    }
}

/// A route's function. The macro [`endpoint!`](crate::endpoint!) makes one of a function's crate.
#[derive(Clone, Copy)]
pub struct Endpoint {
    /// Where it is.
    pub route: &'static Route,
    /// What it reads and answers, for the API's document.
    pub operation: fn() -> Operation,
    /// Starts a sandbox of it that has connected to nothing yet.
    pub start: fn(Settings, Clock) -> Boxed<Result<Service, StartupError>>,
}

/// The [`Endpoint`] of a function's crate: of its `ROUTE`, its `operation` and its `handle`, which takes a `Config` if
/// `Config` is named, and answers with a file as it is made if `streaming` is.
#[macro_export]
macro_rules! endpoint {
    ($function:ident) => {
        $crate::endpoint!(@ $function, respond)
    };
    ($function:ident, streaming) => {
        $crate::endpoint!(@ $function, respond_with_file)
    };
    (@ $function:ident, $respond:ident) => {
        $crate::Endpoint {
            route: &$function::ROUTE,
            operation: $function::operation,
            start: |settings, clock| {
                ::std::boxed::Box::pin(async {
                    let app =
                        ::std::sync::Arc::new($crate::App::new(&$function::ROUTE, settings, clock).await?);
                    Ok($crate::endpoint::Service::new(move |request| {
                        let app = ::std::sync::Arc::clone(&app);
                        async move { app.$respond(request, $function::handle).await }
                    }))
                })
            },
        }
    };
    ($function:ident, Config) => {
        $crate::Endpoint {
            route: &$function::ROUTE,
            operation: $function::operation,
            start: |settings, clock| {
                ::std::boxed::Box::pin(async {
                    let app = $crate::App::new(&$function::ROUTE, settings, clock).await?;
                    let config = $function::Config::read(app.settings()).await?;
                    let sandbox = ::std::sync::Arc::new((app, config));
                    Ok($crate::endpoint::Service::new(move |request| {
                        let sandbox = ::std::sync::Arc::clone(&sandbox);
                        async move {
                            let (app, config) = &*sandbox;
                            app.respond(request, async |ctx| $function::handle(ctx, config).await).await
                        }
                    }))
                })
            },
        }
    };
}
