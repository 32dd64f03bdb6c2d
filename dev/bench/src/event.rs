//! Events as API Gateway and Clerk send them: those of `events/`, by the callers of the benchmark's own database.
use std::fs;
use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use dev::svix;
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::callers::Callers;
use crate::database::Kind;
use crate::environment::WEBHOOK_SECRET;

/// The event that comes as the nth.
pub(crate) type Events = Arc<dyn Fn(u64) -> Bytes>;

/// What the nth is told by from the function's own event.
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

/// Those whose instructions are counted: every route's. Reads come first, so that they find what every run finds.
pub(crate) const COUNTED: [&str; 25] = [
    "list-leads",
    "get-lead",
    "list-conversations",
    "list-duplicates",
    "list-submissions",
    "get-dealership",
    "get-form-snippet",
    "me",
    "health",
    "api-docs",
    "export-leads",
    "form-preflight",
    "form-script",
    "import-leads",
    "patch-lead",
    "create-conversation",
    "create-lead",
    "delete-lead",
    "merge-lead",
    "undo-merge",
    "form-webhook",
    "reject-submission",
    "release-submission",
    "patch-dealership",
    "clerk-webhook",
];

/// Finds 65 leads of each dealership of 5,000: a name in seven goes with a name in eleven.
const ABOUT_A_PAGE: &str = "q=kari%20hansen";

/// The list with this query, by one caller after the other.
pub(crate) fn list(query: &str, callers: &Callers) -> Result<Events> {
    let mut event = read("list-leads")?;
    event["rawQueryString"] = json!(query);
    let all: Vec<Bytes> = callers.tokens().map(|token| by(event.clone(), token)).collect();
    Ok(Arc::new(move |number| all[number as usize % all.len()].clone()))
}

/// What a function is asked, each time about something new where it has to be.
pub(crate) fn of(function: &str, callers: &Callers) -> Result<Events> {
    // A run that finds the rows of the one before asks for others.
    let run = Timestamp::now().as_millisecond() as u64 * 1_000;
    let dealerships = callers.dealerships();
    let asked_once = move |event: &mut Value, number: u64| {
        event["headers"]["idempotency-key"] = json!(format!("bench-{}", run + number));
    };
    let change: Change = match function {
        "list-leads" => return list("", callers),
        "export-leads" => Box::new(|event, _| event["rawQueryString"] = json!(ABOUT_A_PAGE)),
        "create-lead" => Box::new(asked_once),
        "get-lead" | "list-conversations" => {
            Box::new(move |event, number| about(event, Kind::Lead.id(number % dealerships)))
        }
        // Not the one that patch-lead makes unlike the others.
        "list-duplicates" => {
            Box::new(move |event, number| about(event, Kind::Lead.id(number % dealerships + dealerships)))
        }
        "patch-lead" => Box::new(move |event, number| {
            about(event, Kind::Lead.id(number % dealerships));
            say(event, &json!({ "vehicle_of_interest": format!("Bil {number}") }));
        }),
        "delete-lead" => Box::new(|event, number| about(event, Kind::Deleted.id(number))),
        "merge-lead" => Box::new(move |event, number| {
            asked_once(event, number);
            about(event, Kind::Survivor.id(number));
            say(event, &json!({ "lead_id": Kind::Merged.id(number) }));
        }),
        "undo-merge" => Box::new(|event, number| about(event, Kind::Merge.id(number))),
        "reject-submission" => Box::new(|event, number| about(event, Kind::Rejected.id(number))),
        "release-submission" => Box::new(|event, number| about(event, Kind::Released.id(number))),
        "create-conversation" => Box::new(move |event, number| {
            asked_once(event, number);
            let lead = Kind::Lead.id(number % dealerships);
            say(event, &json!({ "lead_id": lead, "channel": "email", "body": "Hei!" }));
        }),
        "form-preflight" | "form-script" => {
            Box::new(move |event, number| of_form(event, number % dealerships))
        }
        "form-webhook" => Box::new(move |event, number| {
            let id = run + number;
            asked_once(event, number);
            of_form(event, number % dealerships);
            let address = (id as u32).to_be_bytes().map(|byte| byte.to_string()).join(".");
            event["requestContext"]["http"]["sourceIp"] = json!(address);
            let name = format!("Kari Nordmann {id}");
            say(event, &json!({ "name": name, "email": "kari@example.no", "message": "Hei" }));
        }),
        "clerk-webhook" => Box::new(move |event, number| sign(event, run + number)),
        // The same each time.
        _ => Box::new(|_, _| {}),
    };
    let event = read(function)?;
    let tokens: Vec<String> = callers.tokens().map(str::to_owned).collect();
    Ok(Arc::new(move |number| {
        let mut event = event.clone();
        change(&mut event, number);
        match event["headers"]["authorization"] {
            Value::Null => Bytes::from(event.to_string()),
            _ => by(event, &tokens[number as usize % tokens.len()]),
        }
    }))
}

fn read(function: &str) -> Result<Value> {
    let path = dev::event_file(function);
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    Ok(serde_json::from_str(&text)?)
}

fn by(mut event: Value, token: &str) -> Bytes {
    event["headers"]["authorization"] = json!(format!("Bearer {token}"));
    Bytes::from(event.to_string())
}

fn about(event: &mut Value, id: Uuid) {
    event["pathParameters"]["id"] = json!(id);
}

fn of_form(event: &mut Value, dealership: u64) {
    event["pathParameters"]["dealership_id"] = json!(Kind::Dealership.id(dealership));
}

fn say(event: &mut Value, body: &Value) {
    event["body"] = json!(body.to_string());
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_route_is_counted() {
        let manifest = fs::read_to_string(dev::workspace().join("Cargo.toml")).unwrap();
        let manifest: toml::Table = manifest.parse().unwrap();
        let router = manifest["workspace"]["metadata"]["lambda"]["watch"]["router"].as_table().unwrap();
        let targets = router.values().flat_map(|targets| targets.as_array().unwrap());
        let routes: BTreeSet<&str> = targets.map(|target| target["function"].as_str().unwrap()).collect();
        assert_eq!(BTreeSet::from(COUNTED), routes);
    }
}
