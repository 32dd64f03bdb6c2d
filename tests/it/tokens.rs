//! Clerk session tokens: which are accepted, which are refused and why, and what happens to the keys.
//!
//! A real `Verifier` asks a real HTTP endpoint on loopback; only the clock is ours. Every refused token is one
//! edit away from a token that is accepted.

mod accepted;
mod configuration;
mod custom_permissions;
mod keys;
mod refused;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use dev::clerk::{ActiveOrganization, Clerk, SessionToken, TOKEN_SECONDS};
use jiff::Timestamp;
use lambda_http::http::HeaderValue;
use serde_json::Value;
use shared::App;
use shared::auth::{Claims, ClerkConfig, KeySource, Rejection, TokenError, Verifier};
use shared::clock::Clock;
use shared::config::Settings;
use shared::db::Login;
use tokio::net::TcpListener;

use crate::support::event;

const ISSUER: &str = "https://clerk.norvalt.test";
const APP: &str = "https://app.norvalt.test";
/// When every token is issued, and what the clock says first: seconds since 1970.
const NOW: i64 = 1_795_000_000;

/// What became of a token, in a form that can be compared.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    Accepted,
    Missing,
    Rejected(Rejection),
    KeysUnavailable,
}

fn outcome(result: &Result<Claims, TokenError>) -> Outcome {
    match result {
        Ok(_) => Outcome::Accepted,
        Err(TokenError::Missing) => Outcome::Missing,
        Err(TokenError::Rejected(reason)) => Outcome::Rejected(*reason),
        Err(TokenError::KeysUnavailable(_)) => Outcome::KeysUnavailable,
    }
}

/// A token still to be signed, for a row of a table to edit.
struct Token {
    header: Value,
    claims: Value,
}

impl Token {
    fn remove_header(&mut self, member: &str) {
        self.header.as_object_mut().unwrap().remove(member).unwrap();
    }

    fn remove(&mut self, claim: &str) {
        self.claims.as_object_mut().unwrap().remove(claim).unwrap();
    }

    /// Makes it a version 1 token, without an organization.
    fn version_1(&mut self) {
        for claim in ["v", "o", "jti", "sts", "fva"] {
            self.remove(claim);
        }
    }
}

type Edit = fn(&mut Token);

/// A clock that stands still until it is moved.
#[derive(Clone)]
struct Time(Arc<AtomicI64>);

impl Time {
    fn new() -> Self {
        Self(Arc::new(AtomicI64::new(NOW)))
    }

    fn clock(&self) -> Clock {
        let seconds = Arc::clone(&self.0);
        Clock::from_fn(move || Timestamp::from_second(seconds.load(Ordering::SeqCst)).unwrap())
    }

    fn set(&self, seconds: i64) {
        self.0.store(seconds, Ordering::SeqCst);
    }

    fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

/// A Clerk instance with its endpoint, a verifier that knows it, and a whole function that does.
struct Bench {
    clerk: Arc<Clerk>,
    time: Time,
    verifier: Arc<Verifier>,
    function: App,
    /// How often the function has reached for its database.
    connections: Arc<AtomicUsize>,
}

impl Bench {
    async fn new() -> Self {
        let (clerk, time) = (Arc::new(Clerk::generate().unwrap()), Time::new());
        let url = serve(&clerk).await;
        let verifier = Arc::new(verifier(KeySource::Jwks(url.clone()), &time));
        let (database, connections) = count_connections().await;
        let variables = [
            ("CLERK_ISSUER", ISSUER),
            ("CLERK_JWKS_URL", &url),
            ("CLERK_AUTHORIZED_PARTIES", APP),
            (Login::Reader.setting(), &database),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let function =
            App::new(&get_lead::ROUTE, Settings::from_variables(variables), time.clock()).await.unwrap();
        Self { clerk, time, verifier, function, connections }
    }

    /// The outcome of a token that the whole function must refuse too, without reaching for its database.
    async fn refused(&self, token: &str) -> Outcome {
        // Some cannot even be a header's value, so no function ever sees them.
        if HeaderValue::from_str(token).is_ok() {
            let request = event("get-lead").by(token).request();
            let response = self.function.respond(request, get_lead::handle).await.unwrap();
            assert_eq!(response.status(), 401, "{token}");
            assert_eq!(self.connections.load(Ordering::SeqCst), 0, "{token}");
        }
        self.outcome(token).await
    }

    /// The edited token of the moment, signed.
    fn token(&self, edit: Edit) -> String {
        sign(&self.clerk, self.time.0.load(Ordering::SeqCst), edit)
    }

    async fn verify(&self, token: &str) -> Result<Claims, TokenError> {
        self.verifier.verify(Some(&format!("Bearer {token}"))).await
    }

    async fn outcome(&self, token: &str) -> Outcome {
        outcome(&self.verify(token).await)
    }

    /// The outcome for this instance's untouched token.
    async fn good(&self) -> Outcome {
        self.outcome(&self.token(|_| ())).await
    }
}

/// Serves an instance's keys and tells where.
async fn serve(clerk: &Arc<Clerk>) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}/.well-known/jwks.json", listener.local_addr().unwrap());
    tokio::spawn(Arc::clone(clerk).serve(listener));
    url
}

/// A database that only counts who comes, and its URL.
async fn count_connections() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url =
        format!("postgres://norvalt_reader:x@{}/norvalt?sslmode=disable", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    (url, connections)
}

fn config(keys: KeySource) -> ClerkConfig {
    ClerkConfig {
        issuer: ISSUER.to_owned(),
        keys,
        authorized_parties: vec![APP.to_owned(), "http://localhost:5173".to_owned()],
    }
}

fn verifier(keys: KeySource, time: &Time) -> Verifier {
    Verifier::new(config(keys), time.clock()).unwrap()
}

fn untouched(clerk: &Clerk, issued_at: i64) -> Token {
    let session = SessionToken {
        issuer: ISSUER,
        authorized_party: APP,
        user_id: "user_kari",
        session_id: "sess_1",
        organization: Some(ActiveOrganization { id: "org_oslo", role: "admin", slug: "tesla-oslo" }),
        issued_at: Timestamp::from_second(issued_at).unwrap(),
        lifetime: TOKEN_SECONDS,
    };
    Token { header: clerk.header(), claims: session.claims() }
}

fn sign(clerk: &Clerk, issued_at: i64, edit: Edit) -> String {
    let mut token = untouched(clerk, issued_at);
    edit(&mut token);
    clerk.sign(&token.header, &token.claims)
}

/// Fails with every row whose outcome is not the expected one.
fn assert_rows(rows: Vec<(&str, Outcome, Outcome)>) {
    let wrong: Vec<_> = rows.into_iter().filter(|(_, got, expected)| got != expected).collect();
    assert!(wrong.is_empty(), "(row, got, expected): {wrong:#?}");
}
