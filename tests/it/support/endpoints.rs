//! Every function, callable in this process.
use std::future::Future;
use std::pin::Pin;
use std::sync::LazyLock;

use clerk_webhook::{Config, Secrets};
use http_body_util::BodyExt;
use lambda_http::{Body, Request, Response};
use shared::files::Files;
use shared::forms::TokenKeys;
use shared::{App, Operation, Route, Schedule};

use super::World;

/// What the tests sign Clerk's webhooks with.
pub const WEBHOOK_SECRET: &str = "whsec_dGhlIHNlY3JldCBvZiB0aGUgdGVzdHM=";

static CLERK: LazyLock<Config> =
    LazyLock::new(|| Config { secrets: Secrets::parse(WEBHOOK_SECRET).unwrap(), instance_id: None });

/// What the tests sign the time of a form with.
pub const FORM_SECRET: &str = "the secret of the tests' forms";

/// What it remembers is true of one database.
pub(super) fn form_config() -> form_webhook::Config {
    form_webhook::Config::new(TokenKeys::parse(FORM_SECRET).unwrap(), None)
}

static FORM_SCRIPT: LazyLock<form_script::Config> =
    LazyLock::new(|| form_script::Config { keys: TokenKeys::parse(FORM_SECRET).unwrap(), captcha: None });

/// Where the public forms live.
pub const FORM_URL: &str = "https://forms.norvalt.test";

static SNIPPET: LazyLock<get_form_snippet::Config> =
    LazyLock::new(|| get_form_snippet::Config { form_url: FORM_URL.to_owned() });

/// Without a captcha.
static DEALERSHIP: patch_dealership::Config = patch_dealership::Config { has_captcha: false };

/// A world has what its functions remember.
type Respond =
    for<'a> fn(&'a World, &'a App, Request) -> Pin<Box<dyn Future<Output = Response<Body>> + Send + 'a>>;

pub struct Endpoint {
    pub route: &'static Route,
    pub respond: Respond,
    /// For the API's document.
    pub operation: fn() -> Operation,
}

macro_rules! endpoints {
    ($($function:ident),+ $(,)?) => {
        [$(Endpoint {
            route: &$function::ROUTE,
            respond: |_, app, request| Box::pin(async { app.respond(request, $function::handle).await.unwrap() }),
            operation: $function::operation,
        }),+]
    };
}

/// With what the function reads once at its start.
macro_rules! configured {
    ($function:ident, |$world:pat_param| $config:expr) => {
        Endpoint {
            route: &$function::ROUTE,
            respond: |$world, app, request| {
                Box::pin(async {
                    app.respond(request, async |ctx| $function::handle(ctx, $config).await).await.unwrap()
                })
            },
            operation: $function::operation,
        }
    };
    ($function:ident, $config:expr) => {
        configured!($function, |_| $config)
    };
}

/// A file, gathered; one that breaks is half a file, which no test may take for one.
const EXPORT_LEADS: Endpoint = Endpoint {
    route: &export_leads::ROUTE,
    respond: |_, app, request| {
        Box::pin(async {
            let response = app.respond_with_file(request, export_leads::handle).await.unwrap();
            let (head, body) = response.into_parts();
            Response::from_parts(head, Body::from(body.collect().await.unwrap().to_bytes().to_vec()))
        })
    },
    operation: export_leads::operation,
};

pub static ENDPOINTS: LazyLock<Vec<Endpoint>> = LazyLock::new(|| {
    let mut all: Vec<Endpoint> = endpoints![
        create_conversation,
        create_lead,
        delete_lead,
        form_preflight,
        get_dealership,
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
    all.extend([
        EXPORT_LEADS,
        configured!(clerk_webhook, &CLERK),
        configured!(form_script, &FORM_SCRIPT),
        configured!(form_webhook, |world| &world.form),
        configured!(get_form_snippet, &SNIPPET),
        configured!(patch_dealership, &DEALERSHIP),
    ]);
    all.sort_by_key(|endpoint| endpoint.route.name);
    all
});

/// The function that answers with files.
pub const FILES: &Files = &api_docs::FILES;

/// Every function that runs by the clock.
pub const SCHEDULES: [&Schedule; 2] = [&clerk_reconcile::SCHEDULE, &parse_submissions::SCHEDULE];

/// What a deployment calls, and nobody else.
pub const DEPLOYMENT: &str = "migrate-database";

pub fn endpoint(function: &str) -> &'static Endpoint {
    ENDPOINTS.iter().find(|endpoint| endpoint.route.name == function).unwrap()
}
