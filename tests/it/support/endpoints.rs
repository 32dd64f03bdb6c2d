//! Every function, callable in this process.
use std::future::Future;
use std::pin::Pin;
use std::sync::LazyLock;

use clerk_webhook::{Config, Secrets};
use http_body_util::BodyExt;
use lambda_http::{Body, Request, Response};
use shared::forms::TokenKeys;
use shared::{App, Route, Schedule};

/// What the tests sign Clerk's webhooks with.
pub const WEBHOOK_SECRET: &str = "whsec_dGhlIHNlY3JldCBvZiB0aGUgdGVzdHM=";

static CLERK: LazyLock<Config> =
    LazyLock::new(|| Config { secrets: Secrets::parse(WEBHOOK_SECRET).unwrap(), instance_id: None });

/// What the tests sign the time of a form with.
pub const FORM_SECRET: &str = "the secret of the tests' forms";

static FORM: LazyLock<form_webhook::Config> =
    LazyLock::new(|| form_webhook::Config { keys: TokenKeys::parse(FORM_SECRET).unwrap(), captcha: None });

type Respond = for<'a> fn(&'a App, Request) -> Pin<Box<dyn Future<Output = Response<Body>> + Send + 'a>>;

pub struct Endpoint {
    pub route: &'static Route,
    pub respond: Respond,
}

macro_rules! endpoints {
    ($($function:ident),+ $(,)?) => {
        [$(Endpoint {
            route: &$function::ROUTE,
            respond: |app, request| Box::pin(async { app.respond(request, $function::handle).await.unwrap() }),
        }),+]
    };
}

const CLERK_WEBHOOK: Endpoint = Endpoint {
    route: &clerk_webhook::ROUTE,
    respond: |app, request| {
        Box::pin(async {
            app.respond(request, async |ctx| clerk_webhook::handle(ctx, &CLERK).await).await.unwrap()
        })
    },
};

const FORM_WEBHOOK: Endpoint = Endpoint {
    route: &form_webhook::ROUTE,
    respond: |app, request| {
        Box::pin(async {
            app.respond(request, async |ctx| form_webhook::handle(ctx, &FORM).await).await.unwrap()
        })
    },
};

/// A file, gathered; one that breaks is half a file, which no test may take for one.
const EXPORT_LEADS: Endpoint = Endpoint {
    route: &export_leads::ROUTE,
    respond: |app, request| {
        Box::pin(async {
            let response = app.respond_with_file(request, export_leads::handle).await.unwrap();
            let (head, body) = response.into_parts();
            Response::from_parts(head, Body::from(body.collect().await.unwrap().to_bytes().to_vec()))
        })
    },
};

pub static ENDPOINTS: LazyLock<Vec<Endpoint>> = LazyLock::new(|| {
    let mut all: Vec<Endpoint> = endpoints![
        create_conversation,
        create_lead,
        delete_lead,
        get_lead,
        health,
        import_leads,
        list_conversations,
        list_duplicates,
        list_leads,
        list_submissions,
        me,
        merge_lead,
        patch_lead,
        reject_submission,
        release_submission,
        undo_merge,
    ]
    .into();
    all.extend([CLERK_WEBHOOK, EXPORT_LEADS, FORM_WEBHOOK]);
    all.sort_by_key(|endpoint| endpoint.route.name);
    all
});

/// Every function that runs by the clock.
pub const SCHEDULES: [&Schedule; 2] = [&clerk_reconcile::SCHEDULE, &parse_submissions::SCHEDULE];

pub fn endpoint(function: &str) -> &'static Endpoint {
    ENDPOINTS.iter().find(|endpoint| endpoint.route.name == function).unwrap()
}
