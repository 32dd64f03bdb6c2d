//! Every line that any test logs, as a function writes it, and the watch over what may not be in one.
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};

use dev::testing::TestDatabase;
use serde_json::Value;
use shared::db::connect_as_owner;
use shared::telemetry::LogFormat;
use tokio::sync::OnceCell;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;

use super::{CLERK_SECRET_KEY, FORM_SECRET, WEBHOOK_SECRET};

/// Everything about the seeded customers and people that a log could give away.
const PERSONAL: &str = "
    select first_name from leads union select last_name from leads union select email from leads
    union select phone from leads union select phone_e164 from leads union select company from leads
    union select message from leads union select body from conversations
    union select first_name from users union select last_name from users union select email from users
    union select s.value #>> '{}' from submissions, jsonb_each(enquiry) s where jsonb_typeof(s.value) = 'string'";

/// Shorter words are in too many others.
const MIN_CHARS: usize = 3;

/// What stands in a request or an answer under these names is about a customer.
const PERSONAL_FIELDS: [&str; 12] = [
    "first_name",
    "last_name",
    "name",
    "navn",
    "email",
    "e-post",
    "phone",
    "phone_e164",
    "company",
    "message",
    "body",
    "melding",
];

/// Of a request's own values, which a property test may make of anything.
const MIN_CHARS_OF_A_REQUEST: usize = 8;

/// What was seen, for a test whose own thread did not write it.
static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());

static SEEDED: OnceCell<BTreeSet<String>> = OnceCell::const_new();

thread_local! {
    /// The lines of this thread since a request began.
    static LINES: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Watches over this process's log from here on, at a level at which AWS never runs: what DEBUG does not tell, INFO
/// does not either.
pub fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| tracing::subscriber::set_global_default(subscriber(|| Watch)).unwrap());
}

/// Learns the sample data from the first database that has it; all others are copies of the same template.
pub async fn learn(database: &TestDatabase) {
    SEEDED.get_or_init(|| seeded(database)).await;
}

async fn seeded(database: &TestDatabase) -> BTreeSet<String> {
    let (owner, _connection) = connect_as_owner(&database.owner_url).await.unwrap();
    let rows = owner.query(PERSONAL, &[]).await.unwrap();
    let values = rows.iter().filter_map(|row| row.get::<_, Option<String>>(0));
    let values: BTreeSet<_> = values.filter(|value| value.chars().count() >= MIN_CHARS).collect();
    assert!(values.len() > 80 && values.contains("Nordmann"), "{values:?}");
    values
}

/// Whether somebody has been told anywhere in this process.
pub fn fail_if_anything_was_seen() {
    let seen = seen();
    assert!(seen.is_empty(), "in the log: {seen:#?}");
}

fn seen() -> MutexGuard<'static, Vec<String>> {
    SEEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Forgets what this thread has written so far.
pub fn begin() {
    LINES.with_borrow_mut(String::clear);
}

/// Holds what this thread has written since [`begin`] to what the request and its answer say about people.
#[track_caller]
pub fn hold_to(request: &Value, answer: &Value) {
    let mut values = BTreeSet::new();
    personal(&in_json(&request["body"]), &mut values);
    personal(answer, &mut values);
    LINES.with_borrow(|lines| {
        if let Some(value) = values.iter().find(|value| has_word(lines, value)) {
            panic!("{value:?} of the request is in the log: {lines}");
        }
    });
}

/// A body is JSON in a text.
fn in_json(body: &Value) -> Value {
    body.as_str().and_then(|body| serde_json::from_str(body).ok()).unwrap_or_default()
}

fn personal(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| personal(item, into)),
        Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_str().filter(|_| PERSONAL_FIELDS.contains(&name.as_str())) {
                    Some(text) if text.chars().count() >= MIN_CHARS_OF_A_REQUEST => {
                        into.insert(text.to_owned());
                    }
                    Some(_) => {}
                    None => personal(value, into),
                }
            }
        }
        _ => {}
    }
}

/// What may be in no line at all: the seeded people, a token of anybody, a secret, a password.
pub fn found_in(text: &str) -> Option<String> {
    // Every token of Clerk's starts so: it is `{"` in Base64.
    let secrets = ["eyJ", WEBHOOK_SECRET, FORM_SECRET, CLERK_SECRET_KEY, ":test@", "BEGIN PRIVATE KEY"];
    let secret = secrets.into_iter().find(|secret| text.contains(secret));
    let seeded = || SEEDED.get()?.iter().find(|value| has_word(text, value)).cloned();
    secret.map(str::to_owned).or_else(seeded)
}

/// Whether the text has the value between characters that are no letters or digits: `Per` is not in `Permission`.
fn has_word(text: &str, value: &str) -> bool {
    // As JSON writes it.
    let escaped = Value::from(value).to_string();
    let value = &escaped[1..escaped.len() - 1];
    let is_edge = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
    text.match_indices(value).any(|(at, _)| {
        is_edge(text[..at].chars().next_back()) && is_edge(text[at + value.len()..].chars().next())
    })
}

fn subscriber<W>(writer: W) -> impl tracing::Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    tracing_subscriber::fmt()
        .json()
        .event_format(LogFormat::new(super::metrics::NAMESPACE))
        .with_max_level(LevelFilter::DEBUG)
        .with_writer(writer)
        .finish()
}

/// Takes each line, whole, as the formatter writes it.
struct Watch;

impl Write for Watch {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let line = String::from_utf8_lossy(bytes);
        if let Some(found) = found_in(&line) {
            seen().push(format!("{found:?} in {line}"));
        }
        // A thread may log while it ends.
        let _ = LINES.try_with(|lines| lines.borrow_mut().push_str(&line));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What this thread logs from here on, for a test that reads it; the watch is kept.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub fn capture() -> (Self, DefaultGuard) {
        let log = Self::default();
        let guard = tracing::subscriber::set_default(subscriber(log.clone().into_writer()));
        (log, guard)
    }

    fn into_writer(self) -> impl for<'a> MakeWriter<'a> {
        move || self.clone()
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// The lines about requests and runs.
    pub fn lines(&self) -> Vec<Value> {
        let lines =
            self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>();
        lines.into_iter().filter(|line| line["message"] == "request" || line["message"] == "run").collect()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Watch.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
