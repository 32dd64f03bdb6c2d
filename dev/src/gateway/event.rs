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
