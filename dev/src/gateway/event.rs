//! A request as the event that AWS makes of it, in payload format 2.0.
use std::collections::BTreeMap;
use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use hyper::header::{CONNECTION, CONTENT_TYPE, COOKIE, EXPECT, HOST, TRANSFER_ENCODING, USER_AGENT};
use hyper::http::request::Parts;
use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use shared::Front;
use uuid::Uuid;

use super::is_url;
use super::routes::Found;

/// What names our account, as the documentation of AWS does.
const ACCOUNT: &str = "123456789012";

/// The bytes of API Gateway's id of a request: `FJ1ApHBn1esQ0hE=`.
const REQUEST_ID_BYTES: usize = 11;

/// What is between a caller and its gateway alone.
const HOP_BY_HOP: [hyper::header::HeaderName; 3] = [CONNECTION, EXPECT, TRANSFER_ENCODING];

/// A new id of a request, as API Gateway or a function URL makes it.
pub(super) fn request_id(front: Front) -> String {
    let random = Uuid::new_v4();
    match is_url(front) {
        true => random.to_string(),
        false => URL_SAFE.encode(&random.as_bytes()[..REQUEST_ID_BYTES]),
    }
}

/// The event of a request.
pub(super) fn of(
    head: &Parts,
    body: &[u8],
    caller: SocketAddr,
    found: &Found<'_>,
    request_id: &str,
) -> Value {
    let of_url = is_url(found.target.front);
    let route_key = if of_url { "$default" } else { &found.target.key };
    let path = if of_url { head.uri.path().to_owned() } else { decoded(head.uri.path()) };
    let text = |name| head.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let (host, user_agent) = (text(HOST).unwrap_or_default(), text(USER_AGENT).unwrap_or_default());
    let now = Timestamp::now();
    let (headers, cookies) = headers(head, caller, body.len(), now);
    let mut event = json!({
        "version": "2.0",
        "routeKey": route_key,
        "rawPath": path,
        "rawQueryString": head.uri.query().unwrap_or_default(),
        "headers": headers,
        "requestContext": {
            "accountId": if of_url { "anonymous" } else { ACCOUNT },
            "apiId": "local",
            "domainName": host,
            "domainPrefix": host.split(['.', ':']).next(),
            "http": {
                "method": head.method.as_str(),
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": caller.ip().to_string(),
                "userAgent": user_agent,
            },
            "requestId": request_id,
            "routeKey": route_key,
            "stage": "$default",
            "time": now.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string(),
            "timeEpoch": now.as_millisecond(),
        },
        "isBase64Encoded": false,
    });
    if !found.parameters.is_empty() && !of_url {
        event["pathParameters"] = json!(found.parameters);
    }
    if !cookies.is_empty() {
        event["cookies"] = json!(cookies);
    }
    if !body.is_empty() {
        let is_text = is_text(&text(CONTENT_TYPE).unwrap_or_default());
        // A letter that is not UTF-8 is lost.
        let whole = if is_text { String::from_utf8_lossy(body).into_owned() } else { STANDARD.encode(body) };
        event["body"] = whole.into();
        event["isBase64Encoded"] = (!is_text).into();
    }
    event
}

/// A path as an HTTP API hands it on: decoded, and cut at a question mark that was encoded. A function URL and the
/// other gateways leave it as it is (hotsock/voker#8, middleapi/standard-server#93).
fn decoded(path: &str) -> String {
    let path = percent_decode_str(path).decode_utf8_lossy();
    path.split('?').next().unwrap_or_default().to_owned()
}

/// Whether a body is handed on as text. Which types are is documented nowhere; these were found on AWS, where all
/// others, and a body without a type, come in base64 (ministackorg/ministack#766).
fn is_text(content_type: &str) -> bool {
    let content_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    content_type.starts_with("text/")
        || ["application/json", "application/javascript", "application/xml"].contains(&content_type.as_str())
}

/// The headers, a name that comes twice once and with both values, and the cookies.
fn headers(
    head: &Parts,
    caller: SocketAddr,
    body_length: usize,
    now: Timestamp,
) -> (BTreeMap<String, String>, Vec<String>) {
    let mut headers = BTreeMap::<String, String>::new();
    let mut cookies = Vec::new();
    let mut add = |name: &str, value: &str| {
        let values = headers.entry(name.to_owned()).or_default();
        if !values.is_empty() {
            values.push(',');
        }
        values.push_str(value);
    };
    for (name, value) in head.headers.iter().filter(|(name, _)| !HOP_BY_HOP.contains(name)) {
        let value = String::from_utf8_lossy(value.as_bytes());
        match *name == COOKIE {
            true => cookies.extend(value.split("; ").map(str::to_owned)),
            false => add(name.as_str(), &value),
        }
    }
    add("x-forwarded-for", &caller.ip().to_string());
    let root = Uuid::new_v4().simple().to_string();
    let trace_id = format!("Root=1-{:08x}-{}", now.as_second(), &root[..24]);
    for (name, value) in [
        ("content-length", body_length.to_string()),
        ("x-amzn-trace-id", trace_id),
        ("x-forwarded-proto", "http".to_owned()),
    ] {
        headers.entry(name.to_owned()).or_insert(value);
    }
    (headers, cookies)
}

#[cfg(test)]
mod tests {
    use hyper::{Method, Request};

    use super::super::routes::Routes;
    use super::*;

    /// The event of a request with these headers and this body.
    fn event(method: &str, uri: &str, sent: &[(&str, &str)], body: &[u8]) -> Value {
        let request = Request::builder().method(method).uri(uri);
        let request = sent.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let (head, ()) = request.body(()).unwrap().into_parts();
        let routes = Routes::of_registry().unwrap();
        let found = routes.find(&method.parse::<Method>().unwrap(), head.uri.path()).unwrap();
        of(&head, body, "203.0.113.24:4711".parse().unwrap(), &found, "FJ1ApHBn1esQ0hE=")
    }

    #[test]
    fn it_is_what_an_http_api_sends() {
        let sent = [
            ("Host", "127.0.0.1:9000"),
            ("Accept", "text/html"),
            ("accept", "application/json"),
            ("Cookie", "a=1; b=2"),
            ("cookie", "c=3"),
            ("connection", "keep-alive"),
            ("user-agent", "curl/8.14.1"),
        ];
        let event = event("GET", "/api/v1/leads/a%20b?q=%C3%A5&q=2", &sent, b"");
        assert_eq!(event["version"], "2.0");
        assert_eq!(event["routeKey"], "GET /api/v1/leads/{id}");
        assert_eq!(
            (&event["rawPath"], &event["rawQueryString"]),
            (&json!("/api/v1/leads/a b"), &json!("q=%C3%A5&q=2"))
        );
        assert_eq!(event["pathParameters"], json!({ "id": "a b" }));
        assert_eq!(event["headers"]["accept"], "text/html,application/json");
        assert_eq!(event["headers"]["x-forwarded-for"], "203.0.113.24");
        assert_eq!(event["cookies"], json!(["a=1", "b=2", "c=3"]));
        assert!(event["headers"]["cookie"].is_null() && event["headers"]["connection"].is_null());
        assert!(event["headers"]["x-amzn-trace-id"].as_str().unwrap().starts_with("Root=1-"));
        assert!(event["body"].is_null() && event["isBase64Encoded"] == false);
        let context = &event["requestContext"];
        assert_eq!(
            (&context["stage"], &context["requestId"]),
            (&json!("$default"), &json!("FJ1ApHBn1esQ0hE="))
        );
        let http = json!({
            "method": "GET", "path": "/api/v1/leads/a b", "protocol": "HTTP/1.1", "sourceIp": "203.0.113.24",
            "userAgent": "curl/8.14.1",
        });
        assert_eq!(context["http"], http);
    }

    #[test]
    fn a_function_url_has_one_route_and_leaves_the_path_as_it_is() {
        let event = event("GET", "/api/v1/leads/export?status=new", &[], b"");
        assert_eq!(
            (&event["routeKey"], &event["rawPath"]),
            (&json!("$default"), &json!("/api/v1/leads/export"))
        );
        assert_eq!(event["requestContext"]["accountId"], "anonymous");
        assert!(event["pathParameters"].is_null());
    }

    #[test]
    fn a_path_is_decoded_and_cut_at_a_question_mark() {
        for (path, is) in
            [("/a%20b", "/a b"), ("/a%2Fb", "/a/b"), ("/a%3Fb", "/a"), ("/%", "/%"), ("/a+b", "/a+b")]
        {
            assert_eq!(decoded(path), is);
        }
    }

    #[test]
    fn a_body_is_text_by_its_type_alone() {
        for (content_type, is) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("text/csv", true),
            ("application/xml", true),
            ("application/merge-patch+json", false),
            ("application/x-www-form-urlencoded", false),
            ("application/octet-stream", false),
            ("", false),
        ] {
            assert_eq!(is_text(content_type), is, "{content_type}");
        }
        let text = event("POST", "/api/v1/leads", &[("content-type", "text/plain")], b"\xc5se");
        assert_eq!((&text["body"], &text["isBase64Encoded"]), (&json!("\u{fffd}se"), &json!(false)));
        let bytes = event("POST", "/api/v1/leads", &[], b"\xc5se");
        assert_eq!((&bytes["body"], &bytes["isBase64Encoded"]), (&json!("xXNl"), &json!(true)));
    }

    #[test]
    fn an_id_looks_like_its_gateways() {
        assert!(request_id(Front::Api).len() == 16 && request_id(Front::FormApi).ends_with('='));
        assert!(request_id(Front::Url).parse::<Uuid>().is_ok());
    }
}
