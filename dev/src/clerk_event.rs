//! Posts a sample of Clerk's webhooks to the running stack, signed as Svix signs.
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Client, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use crate::state::{Lock, State};
use crate::svix;

/// How long Svix waits for an answer.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The event to post.
#[derive(Clone, Debug, clap::Args)]
pub struct ClerkEvent {
    /// Clerk's event as JSON, or a file of events/tenancy/clerk-webhook, whose body is taken
    pub file: PathBuf,
    /// The message's id, a fresh one unless it is given: the same id again is a second delivery
    #[arg(long)]
    pub id: Option<String>,
}

/// The stack's answer.
#[derive(Debug)]
pub struct Delivery {
    /// The message's id.
    pub id: String,
    /// The answer's status.
    pub status: StatusCode,
    /// The answer's body.
    pub body: String,
}

/// Posts the event to the running stack, signed with its secret.
///
/// # Errors
/// When the file has no event, or the stack does not run or does not answer. A refusal is no error.
pub async fn post(event: &ClerkEvent) -> Result<Delivery> {
    let file = event.file.display();
    let text = fs::read_to_string(&event.file).with_context(|| format!("read {file}"))?;
    let payload = payload(&text).with_context(|| format!("{file} has no event of Clerk's"))?;
    let state = State::load()?;
    ensure!(Lock::is_taken()?, "the stack is not running: start it with `cargo dev`");

    let id = event.id.clone().unwrap_or_else(|| format!("msg_{}", Uuid::new_v4().simple()));
    let url = format!("http://127.0.0.1:{}/webhooks/clerk", state.port);
    // The machine's HTTP proxy, if there is one, cannot reach our port.
    let mut request = Client::builder().no_proxy().timeout(TIMEOUT).build()?.post(&url);
    request = request.header("content-type", "application/json");
    for (name, value) in svix::headers(&state.webhook_secret, &id, &payload)? {
        request = request.header(name, value);
    }
    let answer = request.body(payload).send().await;
    let answer = answer.with_context(|| format!("nothing answers at {url}: is the stack still starting?"))?;
    Ok(Delivery { id, status: answer.status(), body: answer.text().await? })
}

/// The body in a file of `events/`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    body: String,
    is_base64_encoded: bool,
}

/// The bytes that Clerk would send: the text itself, or the body of a function URL's event.
fn payload(text: &str) -> Result<Vec<u8>> {
    let json: Value = serde_json::from_str(text)?;
    let payload = match json.get("requestContext") {
        None => text.as_bytes().to_vec(),
        Some(_) => match File::deserialize(&json)? {
            File { body, is_base64_encoded: true } => STANDARD.decode(body)?,
            File { body, is_base64_encoded: false } => body.into_bytes(),
        },
    };
    let event: Value = serde_json::from_slice(&payload)?;
    ensure!(event["type"].is_string(), "there is no type in it");
    Ok(payload)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_sample_has_an_event() {
        let folder = crate::workspace().join("events/tenancy/clerk-webhook");
        let mut names = Vec::new();
        for file in fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            let event: Value =
                serde_json::from_slice(&payload(&fs::read_to_string(&path).unwrap()).unwrap()).unwrap();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            if name.contains('.') {
                assert_eq!(event["type"], name);
            }
            names.push(name);
        }
        assert!(names.len() >= 10 && names.contains(&"base64-body".to_owned()), "{names:?}");
    }

    #[test]
    fn clerks_own_json_is_sent_byte_by_byte() {
        let text = "{ \"type\": \"user.created\",\n  \"data\": {\"first_name\": \"Åse\"} }\n";
        assert_eq!(payload(text).unwrap(), text.as_bytes());
    }

    #[test]
    fn a_file_without_an_event_is_refused() {
        let file = |body: &str, is_base64_encoded: bool| {
            json!({"requestContext": {}, "body": body, "isBase64Encoded": is_base64_encoded}).to_string()
        };
        for text in ["", "hello", "[]", "{}", r#"{"type":1}"#, r#"{"requestContext":{}}"#] {
            assert!(payload(text).is_err(), "{text}");
        }
        for text in [file("first_name=Kari", false), file("no base64!", true), file("{}", false)] {
            assert!(payload(&text).is_err(), "{text}");
        }
    }
}
