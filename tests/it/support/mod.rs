//! A world for one test: its own database, Clerk's key, and every function's handler behind real events.
pub mod catalog;
mod endpoints;
mod event;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use dev::clerk::{ActiveOrganization, Clerk, SessionToken};
use dev::people::{Dealership, Person};
use dev::testing::{TestDatabase, test_cluster};
use jiff::Timestamp;
use lambda_http::http::HeaderMap;
use serde_json::Value;
use shared::App;
use shared::clock::Clock;
use shared::config::Settings;
use shared::db::{Login, connect_as_owner};
use tokio::sync::Mutex;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};

pub use endpoints::{ENDPOINTS, Endpoint, WEBHOOK_SECRET, endpoint};
pub use event::{Event, event, event_files};

pub const ISSUER: &str = "https://clerk.norvalt.test";
pub const ORIGIN: &str = "https://app.norvalt.test";
/// How long a token lives unless a test says otherwise, in seconds.
pub const LIFETIME: i64 = 60;

/// One key for all tests: making one takes longer than most of them.
pub static CLERK: LazyLock<Clerk> = LazyLock::new(|| Clerk::generate().unwrap());

pub struct World {
    pub database: TestDatabase,
    concurrency: usize,
    database_port: Option<u16>,
    apps: Mutex<HashMap<&'static str, Arc<App>>>,
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    /// Null when there is no body.
    pub json: Value,
}

impl World {
    /// With the seeded dealerships, people, leads and conversations.
    pub async fn seeded() -> Self {
        let world = Self::empty().await;
        let mut owner = world.owner().await;
        dev::seed::seed(&mut owner).await.unwrap();
        world
    }

    /// With the schema and no rows.
    pub async fn empty() -> Self {
        Self::on(test_cluster().await.unwrap().new_database().await.unwrap())
    }

    pub fn on(database: TestDatabase) -> Self {
        Self { database, concurrency: 1, database_port: None, apps: Mutex::default() }
    }

    /// With so many connections for each function.
    pub fn with_concurrency(self, concurrency: usize) -> Self {
        Self { concurrency, ..self }
    }

    /// With functions that reach the database through this port.
    pub fn through(self, port: u16) -> Self {
        Self { database_port: Some(port), ..self }
    }

    pub async fn send(&self, event: Event) -> Reply {
        let endpoint = endpoint(event.function);
        let app = self.app(endpoint).await;
        let response = (endpoint.respond)(&app, event.request()).await;
        let (parts, body) = response.into_parts();
        let json = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() };
        Reply { status: parts.status.as_u16(), headers: parts.headers, json }
    }

    pub async fn app(&self, endpoint: &Endpoint) -> Arc<App> {
        let mut apps = self.apps.lock().await;
        if let Some(app) = apps.get(endpoint.route.name) {
            return app.clone();
        }
        let settings = Settings::from_variables(self.variables());
        let app = Arc::new(App::new(endpoint.route, settings, Clock::system()).await.unwrap());
        apps.insert(endpoint.route.name, app.clone());
        app
    }

    /// The environment of every function here.
    pub fn variables(&self) -> Vec<(String, String)> {
        let mut variables = vec![
            ("CLERK_ISSUER".to_owned(), ISSUER.to_owned()),
            ("CLERK_JWT_KEY".to_owned(), CLERK.public_pem()),
            ("CLERK_AUTHORIZED_PARTIES".to_owned(), ORIGIN.to_owned()),
            ("CLERK_WEBHOOK_SECRETS".to_owned(), WEBHOOK_SECRET.to_owned()),
            ("AWS_LAMBDA_MAX_CONCURRENCY".to_owned(), self.concurrency.to_string()),
        ];
        variables.extend(Login::ALL.map(|login| (login.setting().to_owned(), self.url(login))));
        variables
    }

    fn url(&self, login: Login) -> String {
        let url = self.database.url(login);
        let Some(port) = self.database_port else { return url };
        let config: tokio_postgres::Config = url.parse().unwrap();
        url.replace(&format!(":{}/", config.get_ports()[0]), &format!(":{port}/"))
    }

    /// A connection that no policy binds.
    pub async fn owner(&self) -> Client {
        connect_as_owner(&self.database.owner_url).await.unwrap().0
    }

    /// One row, past the policies.
    pub async fn row(&self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Row {
        self.owner().await.query_one(sql, params).await.unwrap()
    }

    /// A count, past the policies.
    pub async fn count(&self, sql: &str) -> i64 {
        self.row(sql, &[]).await.get(0)
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
    CLERK.session_token(&SessionToken {
        issuer: ISSUER,
        authorized_party: ORIGIN,
        user_id,
        session_id: "sess_norvalt_test",
        organization,
        issued_at,
        lifetime: LIFETIME,
    })
}

impl Reply {
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
