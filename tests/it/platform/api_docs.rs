//! `GET /openapi.json`, `GET /docs`: the API's document.
use std::collections::BTreeSet;
use std::fs;

use ::api_docs::FILES;
use lambda_http::{Body, Response};
use serde_json::Value;
use shared::Caller;

use crate::support::openapi::DOCUMENT;
use crate::support::openapi_markdown;
use crate::support::{ENDPOINTS, World, event, kari, nina, ola};

/// Where the document is committed.
const FILE: &str = "functions/platform/api-docs/openapi.json";

/// Asserts that a committed file is equal to the generated text, or writes it when snapshots are to be written.
#[track_caller]
fn assert_committed(file: &str, made: &str) {
    let path = dev::workspace().join(file);
    if std::env::var_os("INSTA_UPDATE").is_some_and(|update| update == "always") {
        fs::write(&path, made).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == made,
        "{file} is not what the code says. Make it anew, and read the change:\n\n  \
         INSTA_UPDATE=always cargo test --package tests -- api_docs\n"
    );
}

#[test]
fn the_committed_document_is_what_the_code_says() {
    assert_committed(FILE, &(serde_json::to_string_pretty(&*DOCUMENT).unwrap() + "\n"));
}

#[test]
fn the_committed_page_is_the_document() {
    assert_committed("docs/API.md", &openapi_markdown::page(&DOCUMENT));
}

/// An answer of the function.
fn answer(name: &'static str) -> Response<Body> {
    FILES.respond(&event(name).request())
}

fn header<'r>(answer: &'r Response<Body>, name: &str) -> &'r str {
    answer.headers().get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
}

#[test]
fn anybody_gets_the_document() {
    let answer = answer("api-docs");
    assert_eq!((answer.status().as_u16(), header(&answer, "content-type")), (200, "application/json"));
    let served: Value = serde_json::from_slice(answer.body()).unwrap();
    assert_eq!(served["openapi"], "3.1.0");
}

#[test]
fn the_page_runs_its_own_scripts_and_asks_its_own_origin_alone() {
    let page = answer("api-docs/docs");
    let policy = header(&page, "content-security-policy");
    for part in ["default-src 'none'", "script-src 'self'", "connect-src 'self'", "frame-ancestors 'none'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
    let html = String::from_utf8(page.body().to_vec()).unwrap();
    let paths: Vec<&str> = html.split(['"', '?']).filter(|text| text.starts_with("/docs/")).collect();
    assert_eq!(paths.len(), 3, "{html}");
    for path in paths {
        assert!(FILES.files.iter().any(|file| file.path == path), "{path} is nowhere");
    }
    assert!(!html.contains("http") && !html.contains("<script>"), "{html}");
}

#[test]
fn the_viewer_is_compressed_and_far_from_lambdas_6_mb() {
    let viewer = answer("api-docs/viewer");
    assert_eq!(header(&viewer, "content-encoding"), "gzip");
    assert!(matches!(viewer.body(), Body::Binary(_)));
    assert!(viewer.body().starts_with(&[0x1f, 0x8b]) && viewer.body().len() < 1_000_000);
}

#[test]
fn another_path_is_a_problem_like_any_other() {
    let mut elsewhere = event("api-docs");
    elsewhere = elsewhere.raw_path("/docs/other.js");
    let answer = FILES.respond(&elsewhere.request());
    assert_eq!(
        (answer.status().as_u16(), header(&answer, "content-type")),
        (404, "application/problem+json")
    );
}

#[test]
fn each_route_has_an_operation() {
    let mut documented = BTreeSet::new();
    for (path, operations) in DOCUMENT["paths"].as_object().unwrap() {
        if registry::files().flat_map(|files| files.files).any(|file| file.path == path) {
            continue;
        }
        for (method, operation) in operations.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap();
            documented.insert((name.to_owned(), method.to_uppercase(), path.clone()));
        }
    }
    let route = |endpoint: &shared::Endpoint| {
        let route = endpoint.route;
        (route.name.to_owned(), route.method.to_owned(), route.path.to_owned())
    };
    assert_eq!(documented, ENDPOINTS.iter().map(route).collect());
}

/// The verbs that a summary begins with.
const VERBS: [&str; 16] = [
    "Accept", "Answer", "Change", "Check", "Create", "Delete", "Export", "Get", "Import", "List", "Mark",
    "Merge", "Read", "Receive", "Record", "Undo",
];

#[test]
fn each_summary_is_a_sentence_of_its_own() {
    let mut summaries = BTreeSet::new();
    for (path, operations) in DOCUMENT["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let summary = operation["summary"].as_str().unwrap();
            let words: Vec<&str> = summary.split(' ').collect();
            assert!(VERBS.contains(&words[0]), "{method} {path} begins with no verb: {summary}");
            assert!(words.len() > 1 && !summary.ends_with('.'), "{method} {path}: {summary}");
            assert!(summaries.insert(summary), "{method} {path} has the summary of another route: {summary}");
        }
    }
    assert!(summaries.len() > 25, "{summaries:?}");
}

#[tokio::test]
async fn who_may_call_by_the_document_may_call() {
    let world = World::seeded().await;
    for endpoint in ENDPOINTS.iter().filter(|endpoint| endpoint.route.caller == Caller::Member) {
        let roles = (endpoint.operation)().roles();
        for (role, token) in [("admin", kari()), ("manager", ola()), ("sales_rep", nina())] {
            // The query is refused at the latest, so nothing changes.
            let reply = world.send(event(endpoint.route.name).query("colour=red").by(&token)).await;
            let may = roles.iter().any(|may| may.as_str() == role);
            assert_eq!(reply.status, if may { 400 } else { 403 }, "{role} at {}", endpoint.route.name);
        }
    }
}

/// Every code in the document.
fn codes(json: &Value, found: &mut BTreeSet<String>) {
    match json {
        Value::Object(fields) => {
            let code = fields.get("code").and_then(|code| code["enum"].as_array());
            found.extend(code.into_iter().flatten().map(|code| code.as_str().unwrap().to_owned()));
            fields.values().for_each(|value| codes(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| codes(item, found)),
        _ => {}
    }
}

#[test]
fn each_code_has_a_sentence_in_the_code() {
    let mut documented = BTreeSet::new();
    codes(&DOCUMENT["paths"], &mut documented);
    assert!(documented.len() > 30, "{documented:?}");
    let mut sources = String::new();
    let mut folders = vec![dev::workspace().join("functions"), dev::workspace().join("shared/src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && !path.ends_with("docs.rs")
            {
                let source = fs::read_to_string(&path).unwrap();
                sources += source.split("pub fn operation()").next().unwrap();
            }
        }
    }
    for code in documented {
        assert!(sources.contains(&format!("\"{code}\"")), "nothing answers {code}");
    }
}
