//! A world for one test: its own database, Clerk's key, and every function's handler behind real events.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::missing_panics_doc,
    missing_docs,
    reason = "this is for tests"
)]

pub mod catalog;
pub mod clerk;
pub mod custom_resource;
mod endpoints;
mod event;
pub mod leads;
pub mod log;
pub mod metrics;
pub mod openapi;
pub mod openapi_markdown;
pub mod plans;
pub mod requests;
pub mod sandbox;
pub mod submissions;
pub mod template;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use dev::clerk::{ActiveOrganization, Clerk, SessionToken};
use dev::people::{Dealership, KARI, NINA, OLA, PER, Person, TESLA_OSLO, VW_BERGEN};
use dev::testing::{TestDatabase, test_cluster};
use http_body_util::BodyExt;
use insta::internals::Redaction;
use jiff::Timestamp;
use lambda_http::http::HeaderMap;
use lambda_http::{Body, Request, Response};
use proptest::test_runner::Config;
use serde_json::Value;
use shared::clock::Clock;
use shared::config::Settings;
use shared::db::{Login, connect_as_owner};
use shared::endpoint::Service;
use shared::{App, Endpoint, Route};
use tokio::sync::Mutex;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};
use uuid::Uuid;

pub use dev::clerk::backend::SECRET_KEY as CLERK_SECRET_KEY;
pub use endpoints::{
    DEPLOYMENT, ENDPOINTS, FILES, FORM_SECRET, FORM_URL, SCHEDULES, WEBHOOK_SECRET, endpoint,
};
pub use event::{Event, event, event_files};

pub const ISSUER: &str = "https://clerk.norvalt.test";
pub const ORIGIN: &str = "https://app.norvalt.test";
/// What has not come about by then never will.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at what a test waits for, so that the other tests have the processor.
const PAUSE: Duration = Duration::from_millis(5);
/// For making a failed case of a property smaller, in milliseconds.
const MAX_SHRINK_MS: u32 = 5000;
/// How long a token lives unless a test says otherwise, in seconds.
pub const LIFETIME: i64 = 60;

/// One key for all tests: making one takes longer than most of them.
pub static CLERK: LazyLock<Arc<Clerk>> = LazyLock::new(|| Arc::new(Clerk::generate().unwrap()));

pub struct World {
    pub database: TestDatabase,
    concurrency: usize,
    database_port: Option<u16>,
    prepared: bool,
    services: Mutex<HashMap<&'static str, Service>>,
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            log::fail_if_anything_was_seen();
        }
    }
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    /// Null when there is no body; text when it is not JSON.
    pub json: Value,
    pub body: Vec<u8>,
}

impl World {
    /// With the seeded dealerships, people, leads and conversations.
    pub async fn seeded() -> Self {
        let database = test_cluster().await.unwrap().seeded_database().await.unwrap();
        log::learn(&database).await;
        Self::on(database)
    }

    /// With the schema and no rows.
    pub async fn empty() -> Self {
        Self::on(test_cluster().await.unwrap().new_database().await.unwrap())
    }

    pub fn on(database: TestDatabase) -> Self {
        log::watch();
        Self { database, concurrency: 1, database_port: None, prepared: true, services: Mutex::default() }
    }

    /// With so many connections for each function.
    pub fn with_concurrency(mut self, concurrency: usize) -> Self {
        self.concurrency = concurrency;
        self
    }

    /// With functions that reach the database through this port.
    pub fn through(mut self, port: u16) -> Self {
        self.database_port = Some(port);
        self
    }

    /// With functions that prepare no statement, as behind a pooler.
    pub fn unprepared(mut self) -> Self {
        self.prepared = false;
        self
    }

    /// What its function answers, which the API's document has to have.
    pub async fn send(&self, event: Event) -> Reply {
        let endpoint = endpoint(event.function);
        let service = self.service(endpoint).await;
        log::begin();
        let reply = Reply::of(&service, event.request()).await;
        log::hold_to(event.value(), &reply.json);
        openapi::assert_documented(&event, &reply);
        reply
    }

    /// The sandbox of an endpoint, one for all requests of this world.
    async fn service(&self, endpoint: &Endpoint) -> Service {
        let mut services = self.services.lock().await;
        if let Some(service) = services.get(endpoint.route.name) {
            return service.clone();
        }
        let service = (endpoint.start)(self.settings(), Clock::system()).await.unwrap();
        services.insert(endpoint.route.name, service.clone());
        service
    }

    /// A sandbox of a route for a handler of the test's own.
    pub async fn app(&self, route: &'static Route) -> App {
        App::new(route, self.settings(), Clock::system()).await.unwrap()
    }

    fn settings(&self) -> Settings {
        Settings::from_variables(self.variables())
    }

    /// The environment of every function here.
    pub fn variables(&self) -> Vec<(String, String)> {
        let mut variables = vec![
            ("CLERK_ISSUER".to_owned(), ISSUER.to_owned()),
            ("CLERK_JWT_KEY".to_owned(), CLERK.public_pem()),
            ("CLERK_AUTHORIZED_PARTIES".to_owned(), ORIGIN.to_owned()),
            ("CLERK_WEBHOOK_SECRETS".to_owned(), WEBHOOK_SECRET.to_owned()),
            ("FORM_SECRETS".to_owned(), FORM_SECRET.to_owned()),
            ("FORM_URL".to_owned(), FORM_URL.to_owned()),
            ("AWS_LAMBDA_MAX_CONCURRENCY".to_owned(), self.concurrency.to_string()),
            ("DATABASE_PREPARED".to_owned(), self.prepared.to_string()),
        ];
        variables.extend(Login::ALL.map(|login| (login.setting().to_owned(), self.url(login))));
        variables
    }

    fn url(&self, login: Login) -> String {
        let url = self.database.url(login);
        let Some(port) = self.database_port else { return url };
        url.replace(&format!(":{}/", self.database.port()), &format!(":{port}/"))
    }

    /// A connection that no policy binds.
    pub async fn owner(&self) -> Client {
        connect_as_owner(&self.database.owner_url).await.unwrap().0
    }

    /// One row, past the policies.
    pub async fn row(&self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Row {
        self.owner().await.query_one(sql, params).await.unwrap()
    }

    /// Merges the other into the survivor, both of Tesla Oslo, as Kari would and under an id that a test knows.
    pub async fn merge_as(&self, id: Uuid, survivor: Uuid, other: Uuid) {
        dev::invocations::merge(&mut self.owner().await, id, survivor, other).await.unwrap();
    }

    /// A count, past the policies.
    pub async fn count(&self, sql: &str) -> i64 {
        self.row(sql, &[]).await.get(0)
    }
}

/// Waits until `holds` returns true. After a minute it fails, and `what` completes the message.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain until {what}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// A session token of a person who has chosen a dealership, issued now.
pub fn token(dealership: &Dealership, person: &Person, role: &str) -> String {
    let organization = ActiveOrganization { id: dealership.clerk_org_id, role, slug: dealership.slug };
    session_token(person.clerk_user_id, Some(organization), Timestamp::now())
}

pub fn session_token(
    user_id: &str,
    organization: Option<ActiveOrganization<'_>>,
    issued_at: Timestamp,
) -> String {
    token_for(user_id, organization, issued_at, LIFETIME)
}

/// One that lives for `lifetime` seconds.
pub fn token_for(
    user_id: &str,
    organization: Option<ActiveOrganization<'_>>,
    issued_at: Timestamp,
    lifetime: i64,
) -> String {
    CLERK.session_token(&SessionToken {
        issuer: ISSUER,
        authorized_party: ORIGIN,
        user_id,
        session_id: "sess_norvalt_test",
        organization,
        issued_at,
        lifetime,
    })
}

/// The admin of Tesla Oslo.
pub fn kari() -> String {
    token(&TESLA_OSLO, &KARI, "admin")
}

/// The manager of Tesla Oslo.
pub fn ola() -> String {
    token(&TESLA_OSLO, &OLA, "manager")
}

/// The sales rep of Tesla Oslo, with the role as Clerk spells it.
pub fn nina() -> String {
    token(&TESLA_OSLO, &NINA, "member")
}

/// The admin of VW Bergen.
pub fn per() -> String {
    token(&VW_BERGEN, &PER, "admin")
}

/// The id of the seed's nth lead: 1 to 10 are Tesla Oslo's, 11 to 20 VW Bergen's.
pub fn lead(n: u16) -> Uuid {
    seeded(10, n)
}

/// The id of the seed's nth vehicle: 1 to 4 are Tesla Oslo's, 5 to 7 VW Bergen's.
pub fn vehicle(n: u16) -> Uuid {
    seeded(20, n)
}

/// The id of the seed's nth submission: 1 (held) and 2 (spam) are Tesla Oslo's, 3 (held) is VW Bergen's.
pub fn submission(n: u16) -> Uuid {
    seeded(50, n)
}

/// The id of a test's nth merge; the event of undo-merge is about the first.
pub fn merge_id(n: u16) -> Uuid {
    seeded(50, n)
}

fn seeded(kind: u16, n: u16) -> Uuid {
    format!("019a0000-0000-7000-8000-{:012}", kind * 100 + n).parse().unwrap()
}

/// Hides a time in a snapshot, once it is one: RFC 3339, UTC.
pub fn time() -> Redaction {
    insta::dynamic_redaction(|value, path| {
        let text = value.as_str().unwrap_or_default();
        assert!(text.ends_with('Z') && text.parse::<Timestamp>().is_ok(), "{path}: {text:?}");
        "[time]"
    })
}

/// Hides an id in a snapshot, once it is one that we make: a UUID of version 7.
pub fn id() -> Redaction {
    insta::dynamic_redaction(|value, path| {
        let id = value.as_str().and_then(|text| text.parse::<Uuid>().ok());
        assert_eq!(id.map(|id| id.get_version_num()), Some(7), "{path}: {value:?}");
        "[id]"
    })
}

/// So many cases of a property, unless `PROPTEST_CASES` says otherwise. A case that fails is made smaller for some
/// seconds and printed, not kept.
pub fn cases(usual: u32) -> Config {
    let config = Config { failure_persistence: None, max_shrink_time: MAX_SHRINK_MS, ..Config::default() };
    let is_set = std::env::var_os("PROPTEST_CASES").is_some();
    if is_set { config } else { Config { cases: usual, ..config } }
}

impl From<Response<Body>> for Reply {
    fn from(response: Response<Body>) -> Self {
        let (parts, body) = response.into_parts();
        let content_type = parts.headers.get("content-type").map(|value| value.to_str().unwrap());
        let is_json = content_type.is_none_or(|value| value.contains("json"));
        let json = match &body[..] {
            [] => Value::Null,
            body if is_json => serde_json::from_slice(body).unwrap(),
            body => String::from_utf8_lossy(body).into(),
        };
        Self { status: parts.status.as_u16(), headers: parts.headers, json, body: body.to_vec() }
    }
}

impl Reply {
    /// What a function answers. A stream that breaks is half a file, which no test may take for one.
    pub async fn of(service: &Service, request: Request) -> Self {
        let (head, body) = service.respond(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Response::from_parts(head, Body::from(body.to_vec())).into()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// The stable code of a refusal.
    pub fn code(&self) -> &str {
        self.json["code"].as_str().unwrap_or_default()
    }

    /// The fields a refusal names, sorted.
    pub fn fields(&self) -> Vec<&str> {
        let errors = self.json["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut fields: Vec<&str> = errors.iter().map(|error| error["field"].as_str().unwrap()).collect();
        fields.sort_unstable();
        fields
    }

    /// The ids of a list's items.
    pub fn ids(&self) -> Vec<&str> {
        self.json["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect()
    }

    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.json);
        self
    }
}
