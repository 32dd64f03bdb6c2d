//! Events as API Gateway and Clerk send them: those of `events/`, by the callers of the benchmark's own database.
use std::fs;
use std::sync::Arc;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::callers::Callers;
use crate::database;

/// The event that comes as the nth.
pub(crate) type Events = Arc<dyn Fn(u64) -> Bytes>;

/// The functions that are driven.
pub(crate) const FUNCTIONS: [&str; 6] =
    ["list-leads", "get-lead", "patch-lead", "create-conversation", "form-webhook", "clerk-webhook"];

/// Those whose instructions are counted: the ones that can be asked the same again and again. Reads come first, so that
/// they find what every run finds.
pub(crate) const COUNTED: [&str; 13] = [
    "list-leads",
    "get-lead",
    "list-conversations",
    "list-duplicates",
    "list-submissions",
    "get-dealership",
    "me",
    "health",
    "patch-lead",
    "create-conversation",
    "create-lead",
    "form-webhook",
    "clerk-webhook",
];

/// The list with this query, by one caller after the other.
pub(crate) fn list(query: &str, callers: &Callers) -> Result<Events> {
    let mut event = read("list-leads")?;
    event["rawQueryString"] = json!(query);
    let all: Vec<Bytes> = callers.tokens().map(|token| by(event.clone(), token)).collect();
    Ok(Arc::new(move |number| all[number as usize % all.len()].clone()))
}

/// What a function is asked, each time about something new where it has to be.
pub(crate) fn of(function: &str, callers: &Callers) -> Result<Events> {
    let event = read(function)?;
    // A run that finds the rows of the one before asks for others.
    let run = Timestamp::now().as_millisecond() as u64 * 1_000;
    let tokens: Vec<String> = callers.tokens().map(str::to_owned).collect();
    let dealerships = callers.dealerships();
    let secret = STANDARD.decode(crate::environment::WEBHOOK_SECRET.trim_start_matches("whsec_"))?;
    let caller =
        move |number: u64| (number % dealerships, tokens[number as usize % tokens.len()].as_str().to_owned());
    Ok(match function {
        "list-leads" => return list("", callers),
        "health" | "me" | "get-dealership" | "list-submissions" => {
            Arc::new(move |number| by(event.clone(), &caller(number).1))
        }
        "create-lead" => Arc::new(move |number| {
            let mut event = event.clone();
            event["headers"]["idempotency-key"] = json!(format!("bench-{}", run + number));
            by(event, &caller(number).1)
        }),
        "list-duplicates" => Arc::new(move |number| {
            let (dealership, token) = caller(number);
            let mut event = event.clone();
            // Not the one that patch-lead makes unlike the others.
            event["pathParameters"]["id"] = json!(database::lead(dealership + dealerships));
            by(event, &token)
        }),
        "get-lead" | "patch-lead" | "list-conversations" => Arc::new(move |number| {
            let (dealership, token) = caller(number);
            let mut event = event.clone();
            event["pathParameters"]["id"] = json!(database::lead(dealership));
            event["body"] = json!(json!({ "vehicle_of_interest": format!("Bil {number}") }).to_string());
            by(event, &token)
        }),
        "create-conversation" => Arc::new(move |number| {
            let (dealership, token) = caller(number);
            let mut event = event.clone();
            event["headers"]["idempotency-key"] = json!(format!("bench-{}", run + number));
            let lead = database::lead(dealership);
            event["body"] = json!(json!({ "lead_id": lead, "channel": "email", "body": "Hei!" }).to_string());
            by(event, &token)
        }),
        "form-webhook" => Arc::new(move |number| {
            let mut event = event.clone();
            let id = run + number;
            event["headers"]["idempotency-key"] = json!(format!("bench-{id}"));
            event["pathParameters"]["dealership_id"] = json!(database::dealership(number % dealerships));
            let address = (id as u32).to_be_bytes().map(|byte| byte.to_string()).join(".");
            event["requestContext"]["http"]["sourceIp"] = json!(address);
            let body = json!({ "name": format!("Kari Nordmann {id}"), "email": "kari@example.no", "message": "Hei" });
            event["body"] = json!(body.to_string());
            Bytes::from(event.to_string())
        }),
        _ => Arc::new(move |number| {
            let mut event = event.clone();
            let body = event["body"].as_str().unwrap_or_default();
            let body = body.replace("org_29w9IfBrPmcpi0IeBVaKtA7R94W", &format!("org_hook_{}", run + number));
            let (id, timestamp) = (format!("msg_{}", run + number), Timestamp::now().as_second().to_string());
            let signature = signature(&secret, &id, &timestamp, &body);
            for (header, value) in
                [("svix-id", id), ("svix-timestamp", timestamp), ("svix-signature", signature)]
            {
                event["headers"][header] = json!(value);
            }
            event["body"] = json!(body);
            Bytes::from(event.to_string())
        }),
    })
}

fn read(function: &str) -> Result<Value> {
    let path = dev::workspace().join(format!("events/{function}.json"));
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    Ok(serde_json::from_str(&text)?)
}

fn by(mut event: Value, token: &str) -> Bytes {
    event["headers"]["authorization"] = json!(format!("Bearer {token}"));
    Bytes::from(event.to_string())
}

/// As Svix signs: HMAC-SHA256 over `{id}.{timestamp}.{body}`. A key of any length will do.
fn signature(secret: &[u8], id: &str, timestamp: &str, body: &str) -> String {
    let Ok(mac) = Hmac::<Sha256>::new_from_slice(secret) else { return String::new() };
    let mac = mac.chain_update(format!("{id}.{timestamp}.{body}"));
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}
