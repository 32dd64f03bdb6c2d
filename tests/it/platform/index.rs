//! `GET /`.
use lambda_http::{Body, Response};
use serde_json::{Value, json};

use crate::support::{ENDPOINTS, FILES, event};

fn index() -> Response<Body> {
    let index = FILES.iter().find(|files| files.name == "index").unwrap();
    index.respond(&event("index").request())
}

#[test]
fn anybody_is_shown_the_version_and_where_to_go_next() {
    let answer = index();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/json");
    let body: Value = serde_json::from_slice(answer.body()).unwrap();
    let links = json!({ "health": "/health", "openapi": "/openapi.json", "docs": "/docs" });
    assert_eq!(body, json!({ "name": "Norvalt", "version": env!("CARGO_PKG_VERSION"), "links": links }));
}

#[test]
fn each_link_leads_somewhere() {
    let body: Value = serde_json::from_slice(index().body()).unwrap();
    for (name, path) in body["links"].as_object().unwrap() {
        let path = path.as_str().unwrap();
        let is_file = FILES.iter().flat_map(|files| files.files).any(|file| file.path == path);
        let is_route =
            ENDPOINTS.iter().any(|endpoint| (endpoint.route.method, endpoint.route.path) == ("GET", path));
        assert!(is_file || is_route, "{name} leads to {path}");
    }
}
