//! What answers in the gateway's process is what answers in a process of its own.
use std::collections::HashMap;

use dev::invocations::invocations;
use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use super::Served;
use crate::support::clerk::delivery;
use crate::support::sandbox::{Sandbox, binaries, settings};
use crate::support::{DEPLOYMENT, Event, World, event, event_files, kari, lead, merge_id};

/// What depends on when the rows were made: the place where a page ends, and the age of what waits.
const OF_ITS_TIME: [&str; 2] = ["next_cursor", "waiting_seconds"];

/// Every event, in the form in which its function accepts it where it can; a function's own comes first.
fn events() -> Vec<Event> {
    let mut events = Vec::new();
    for (function, files) in event_files() {
        if function == DEPLOYMENT {
            continue;
        }
        let cases = files.iter().map(|file| file.trim_end_matches(".json")).filter(|case| *case != function);
        let names = cases.map(|case| format!("{function}/{case}"));
        for name in [function.clone()].into_iter().chain(names) {
            let event = event(name.leak());
            events.push(match event.function {
                "clerk-webhook" => delivery(&format!("msg_{}", events.len()), event),
                _ if event.value()["headers"]["authorization"].is_string() => event.by(&kari()),
                _ => event,
            });
        }
    }
    events
}

/// An answer without what is new each time: ids that were made for it, times, what is signed with one, and what depends on one.
fn redacted(value: &Value) -> Value {
    match value {
        Value::String(text) => match serde_json::from_str::<Value>(text) {
            Ok(inner) if inner.is_object() => redacted(&inner),
            _ => text.split_inclusive(ends_a_word).map(redacted_word).collect::<String>().into(),
        },
        Value::Array(items) => items.iter().map(redacted).collect(),
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| match value {
                value if OF_ITS_TIME.contains(&name.as_str()) && !value.is_null() => {
                    (name.clone(), "[time]".into())
                }
                value => (name.clone(), redacted(value)),
            };
            fields.iter().map(field).collect()
        }
        other => other.clone(),
    }
}

/// Ids and times have none of them inside.
fn ends_a_word(c: char) -> bool {
    !(c.is_ascii_alphanumeric() || "-_:.+".contains(c))
}

/// A time in seconds and its signature.
fn is_form_token(word: &str) -> bool {
    let Some((seconds, signature)) = word.split_once('.') else { return false };
    seconds.len() == 10 && seconds.bytes().all(|byte| byte.is_ascii_digit()) && signature.len() == 43
}

/// A word, with what ends it.
fn redacted_word(text: &str) -> String {
    let word = text.trim_end_matches(ends_a_word);
    let is_seeded = word.starts_with("019a0000-0000-7000-8000-");
    let redacted = match () {
        () if !is_seeded && word.parse::<Uuid>().is_ok() => "[id]",
        () if word.parse::<Timestamp>().is_ok() => "[time]",
        () if is_form_token(word) => "[token]",
        () => word,
    };
    text.replacen(word, redacted, 1)
}

/// Status, headers and body of a request's answer; a run's answer as it is. A stream does not say that it is no base64.
fn picture(answer: &Value) -> Value {
    if !answer["statusCode"].is_u64() {
        return redacted(answer);
    }
    let fields =
        ["statusCode", "headers", "cookies", "body"].map(|name| (name.to_owned(), redacted(&answer[name])));
    let is_base64 = answer["isBase64Encoded"].as_bool().unwrap_or_default();
    fields.into_iter().chain([("isBase64Encoded".to_owned(), is_base64.into())]).collect()
}

#[tokio::test]
async fn every_event_gets_the_same_answer_from_this_process_and_from_its_functions_own() {
    // Before there are signatures and tokens, which do not live as long as a build may take.
    tokio::task::spawn_blocking(binaries).await.unwrap();
    let (here, there) = (World::seeded().await, World::seeded().await);
    for world in [&here, &there] {
        world.merge_as(merge_id(1), lead(9), lead(10)).await;
    }
    let (stack, settings) = (Served::before(&here).await, settings(&there).await);
    let mut sandboxes = HashMap::new();
    let mut statuses = Vec::new();
    for event in events() {
        if !sandboxes.contains_key(event.function) {
            sandboxes.insert(event.function, Sandbox::start(event.function, &settings).await);
        }
        let theirs = sandboxes.get_mut(event.function).unwrap().invoke(&event).await;
        let ours = stack.invoke(event.function, event.value()).await.expect(200).json();
        assert_eq!(picture(&ours), picture(&theirs), "{}: {}", event.function, event.value());
        statuses.push((event.function, ours["statusCode"].as_u64()));
    }
    // It is no comparison of refusals: each function has accepted its own event.
    for invocation in invocations() {
        let first = statuses.iter().find(|(function, _)| *function == invocation.function).unwrap();
        assert_eq!(first.1, Some(invocation.status.into()), "{}", invocation.function);
    }
}
