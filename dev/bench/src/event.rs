//! Events as API Gateway and Clerk send them: those of `events/`, sent by the people of the benchmark's database.
use std::fs;
use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use dev::svix;
use jiff::Timestamp;
use serde_json::{Value, json};
use shared::Route;
use uuid::Uuid;

use crate::callers::Callers;
use crate::database::Kind;
use crate::environment::WEBHOOK_SECRET;

/// The nth event.
pub(crate) type Events = Arc<dyn Fn(u64) -> Bytes>;

/// Makes the nth event of the function's own.
type Change = Box<dyn Fn(&mut Value, u64) + Send + Sync>;

/// The functions that are driven, the largest of all among them.
pub(crate) const FUNCTIONS: [&str; 7] = [
    "list-leads",
    "get-lead",
    "patch-lead",
    "create-conversation",
    "form-webhook",
    "clerk-webhook",
    "import-leads",
];

/// The functions whose instructions are counted: every one that answers requests.
///
/// Those that only read come first, so that they find what every run finds. Those that write follow from the area that
/// the others build on to the area that builds on them: a dealership's settings change last.
pub(crate) fn counted() -> Vec<&'static str> {
    let files = registry::files().map(|files| files.name);
    let routes = registry::endpoints().map(|endpoint| endpoint.route);
    let (reads, writes): (Vec<&Route>, Vec<&Route>) =
        routes.partition(|route| matches!(route.method, "GET" | "OPTIONS"));
    let routes = reads.into_iter().chain(writes.into_iter().rev());
    files.chain(routes.map(|route| route.name)).collect()
}

/// Finds 65 leads of each dealership of 5,000: a name in seven goes with a name in eleven.
const ABOUT_A_PAGE: &str = "q=kari%20hansen";

/// The list with this query, by one caller after the other.
pub(crate) fn list(query: &str, callers: &Callers) -> Result<Events> {
    let mut event = read("list-leads")?;
    event["rawQueryString"] = json!(query);
    let all: Vec<Bytes> = callers.tokens().map(|token| with_token(event.clone(), token)).collect();
    Ok(Arc::new(move |number| all[number as usize % all.len()].clone()))
}

/// The events of a function, by one caller after the other, each about something new where it has to be.
pub(crate) fn of(function: &str, callers: &Callers) -> Result<Events> {
    if function == "list-leads" {
        return list("", callers);
    }
    let (event, change) = (read(function)?, change(function, callers.dealerships()));
    let tokens: Vec<String> = callers.tokens().map(str::to_owned).collect();
    Ok(Arc::new(move |number| {
        let mut event = event.clone();
        change(&mut event, number);
        match event["headers"]["authorization"] {
            Value::Null => Bytes::from(event.to_string()),
            _ => with_token(event, &tokens[number as usize % tokens.len()]),
        }
    }))
}

fn change(function: &str, dealerships: u64) -> Change {
    // A run that finds the rows of an earlier run makes others.
    let run = Timestamp::now().as_millisecond() as u64 * 1_000;
    let set_key = move |event: &mut Value, number: u64| {
        event["headers"]["idempotency-key"] = json!(format!("bench-{}", run + number));
    };
    match function {
        "export-leads" => Box::new(|event, _| event["rawQueryString"] = json!(ABOUT_A_PAGE)),
        "create-lead" => Box::new(set_key),
        "get-lead" | "list-conversations" => {
            Box::new(move |event, number| set_id(event, Kind::Lead.id(number % dealerships)))
        }
        // Not the lead that patch-lead makes unlike the others.
        "list-duplicates" => {
            Box::new(move |event, number| set_id(event, Kind::Lead.id(number % dealerships + dealerships)))
        }
        "patch-lead" => Box::new(move |event, number| {
            set_id(event, Kind::Lead.id(number % dealerships));
            set_body(event, &json!({ "vehicle_of_interest": format!("Bil {number}") }));
        }),
        "delete-lead" => Box::new(|event, number| set_id(event, Kind::Deleted.id(number))),
        "merge-lead" => Box::new(move |event, number| {
            set_key(event, number);
            set_id(event, Kind::Survivor.id(number));
            set_body(event, &json!({ "lead_id": Kind::Merged.id(number) }));
        }),
        "undo-merge" => Box::new(|event, number| set_id(event, Kind::Merge.id(number))),
        "reject-submission" => Box::new(|event, number| set_id(event, Kind::Rejected.id(number))),
        "release-submission" => Box::new(|event, number| set_id(event, Kind::Released.id(number))),
        "create-conversation" => Box::new(move |event, number| {
            set_key(event, number);
            let lead = Kind::Lead.id(number % dealerships);
            set_body(event, &json!({ "lead_id": lead, "channel": "email", "body": "Hei!" }));
        }),
        "form-preflight" | "form-script" => {
            Box::new(move |event, number| set_dealership(event, number % dealerships))
        }
        "form-webhook" => Box::new(move |event, number| {
            set_key(event, number);
            set_dealership(event, number % dealerships);
            submit(event, run + number);
        }),
        "clerk-webhook" => Box::new(move |event, number| sign(event, run + number)),
        // The same each time.
        _ => Box::new(|_, _| {}),
    }
}

fn read(function: &str) -> Result<Value> {
    let path = dev::event_file(function);
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    Ok(serde_json::from_str(&text)?)
}

fn with_token(mut event: Value, token: &str) -> Bytes {
    event["headers"]["authorization"] = json!(format!("Bearer {token}"));
    Bytes::from(event.to_string())
}

fn set_id(event: &mut Value, id: Uuid) {
    event["pathParameters"]["id"] = json!(id);
}

fn set_dealership(event: &mut Value, number: u64) {
    event["pathParameters"]["dealership_id"] = json!(Kind::Dealership.id(number));
}

fn set_body(event: &mut Value, body: &Value) {
    event["body"] = json!(body.to_string());
}

/// Makes it a person's own submission, from an address of their own.
fn submit(event: &mut Value, person: u64) {
    let address = (person as u32).to_be_bytes().map(|byte| byte.to_string()).join(".");
    event["requestContext"]["http"]["sourceIp"] = json!(address);
    let name = format!("Kari Nordmann {person}");
    set_body(event, &json!({ "name": name, "email": "kari@example.no", "message": "Hei" }));
}

/// Makes it Clerk's message about an organization of its own.
fn sign(event: &mut Value, number: u64) {
    let body = event["body"].as_str().unwrap_or_default();
    let body = body.replace("org_29w9IfBrPmcpi0IeBVaKtA7R94W", &format!("org_hook_{number}"));
    // The constant secret can be decoded; without headers the function would refuse the message.
    let headers = svix::headers(WEBHOOK_SECRET, &format!("msg_{number}"), body.as_bytes());
    for (name, value) in headers.into_iter().flatten() {
        event["headers"][name] = json!(value);
    }
    event["body"] = json!(body);
}
