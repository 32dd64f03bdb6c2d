//! The gateway of `cargo dev`, over a real socket: as API Gateway and the function URLs are on AWS, and before functions
//! that answer as their binaries do.
mod binaries;

use std::sync::Arc;
use std::time::Duration;

use dev::gateway::Gateway;
use dev::gateway::cors::{API, Cors, EXPORT};
use dev::people::TESLA_OSLO;
use encoding_rs::WINDOWS_1252;
use lambda_http::http::{HeaderMap, Method};
use reqwest::{Body, Client, RequestBuilder};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::leads::fill;
use crate::support::sandbox::settings;
use crate::support::template::{block_of, read, template_of};
use crate::support::{ORIGIN, World, event, kari, lead};
use dev::proxy::{Pass, Proxy};

/// What is above every quota of a body.
const TOO_LARGE: usize = 10 * 1024 * 1024 + 1;
/// A body that API Gateway lets through, and whose event Lambda does not: base64 makes four bytes of three.
const TOO_LARGE_AN_EVENT: usize = 5 * 1024 * 1024;

/// A gateway of one test's own.
struct Served {
    client: Client,
    url: String,
}

/// What came back, its headers by name.
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Served {
    async fn before(world: &World) -> Self {
        let gateway = Gateway::start(settings(world).await.into_iter().collect()).await.unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(Arc::new(gateway).serve(listener));
        Self { client: Client::builder().no_proxy().build().unwrap(), url }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    /// By Kari.
    fn by_kari(&self, method: Method, path: &str) -> RequestBuilder {
        self.request(method, path).bearer_auth(kari())
    }

    /// What Lambda's Invoke API answers to an event.
    async fn invoke(&self, function: &str, event: &Value) -> Answer {
        let path = format!("/2015-03-31/functions/{function}/invocations");
        answer(self.request(Method::POST, &path).body(event.to_string())).await
    }
}

async fn answer(request: RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Answer { status, headers, body: response.bytes().await.unwrap().to_vec() }
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("{:?}", String::from_utf8_lossy(&self.body)))
    }

    #[track_caller]
    fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        self
    }
}

#[tokio::test]
async fn a_route_is_found_by_its_method_and_path_and_knows_the_request() {
    let world = World::seeded().await;
    let stack = Served::before(&world).await;
    let leads =
        answer(stack.by_kari(Method::GET, "/api/v1/leads?status=won&limit=1&total=true")).await.expect(200);
    assert_eq!(
        (leads.json()["items"][0]["status"].clone(), leads.json()["total"].clone()),
        (json!("won"), json!(2))
    );
    assert_eq!(leads.header("content-type"), "application/json");
    let one = answer(stack.by_kari(Method::GET, &format!("/api/v1/leads/{}", lead(1)))).await.expect(200);
    assert_eq!(one.json()["id"], json!(lead(1)));
    assert!(one.header("etag").starts_with('"'), "{}", one.header("etag"));
    let none = answer(stack.get("/api/v1/leads")).await.expect(401);
    assert_eq!(none.header("www-authenticate"), "Bearer");
    // The caller is shown the id that the function logs.
    assert_eq!(none.json()["request_id"], none.header("apigw-requestid"));
    let index = answer(stack.get("/")).await.expect(200);
    assert_eq!(index.json()["name"], "Norvalt");
}

#[tokio::test]
async fn a_path_is_decoded_as_http_apis_decode_it() {
    let world = World::seeded().await;
    let stack = Served::before(&world).await;
    let encoded = lead(1).to_string().replace('-', "%2D");
    answer(stack.by_kari(Method::GET, &format!("/api/v1/leads/{encoded}"))).await.expect(200);
    for id in ["a%20b", "%C3%A5", "a%2Fb", "%3Fa", "%"] {
        let reply = answer(stack.by_kari(Method::GET, &format!("/api/v1/leads/{id}"))).await.expect(400);
        assert_eq!(reply.json()["code"], "invalid_parameters", "{id}");
    }
}

#[tokio::test]
async fn what_is_no_route_is_a_problem() {
    let world = World::empty().await;
    let stack = Served::before(&world).await;
    for (method, path) in [
        (Method::GET, "/nowhere"),
        (Method::GET, "/health/"),
        (Method::GET, "//health"),
        (Method::GET, "/api/v1/leads/"),
        (Method::POST, "/health"),
        (Method::PUT, "/api/v1/leads"),
        (Method::GET, "/2015-03-31/functions/health/invocations"),
        (Method::OPTIONS, "/webhooks/form/1/form.js"),
    ] {
        let request = stack.request(method.clone(), path).header("access-control-request-method", "GET");
        let reply = answer(request).await.expect(404);
        assert_eq!(reply.header("content-type"), "application/problem+json", "{method} {path}");
        let problem = reply.json();
        assert_eq!((&problem["code"], &problem["status"]), (&json!("not_found"), &json!(404)));
        assert_eq!(problem["request_id"], reply.header("apigw-requestid"));
        assert_eq!(reply.header("apigw-requestid").len(), 16);
    }
    let head = answer(stack.request(Method::HEAD, "/health")).await.expect(404);
    assert_eq!(head.body, b"", "HEAD has no route");
}

#[tokio::test]
async fn the_gateway_answers_preflights_by_the_apis_settings() {
    let world = World::empty().await;
    let stack = Served::before(&world).await;
    let preflight = |origin, method, path| {
        let request = stack.request(Method::OPTIONS, path).header("origin", origin);
        answer(request.header("access-control-request-method", method))
    };
    // Where it is a function URL's, that has settings of its own.
    for (method, path, cors) in [
        ("PATCH", "/api/v1/leads/1", &API),
        ("GET", "/nowhere", &API),
        ("GET", "/api/v1/leads/export", &EXPORT),
    ] {
        let allowed = preflight(ORIGIN, method, path).await.expect(cors.status.as_u16());
        assert_eq!(allowed.header("access-control-allow-origin"), ORIGIN, "{path}");
        assert_eq!(allowed.header("access-control-allow-methods"), cors.methods);
        assert_eq!(allowed.header("access-control-allow-headers"), cors.headers);
        assert_eq!(allowed.header("access-control-max-age"), cors.max_age.to_string());
        assert_eq!(allowed.body, b"");
        let other = preflight("https://evil.example", method, path).await.expect(cors.status.as_u16());
        assert!(!other.headers.keys().any(|name| name.as_str().starts_with("access-control-")), "{path}");
    }
}

#[tokio::test]
async fn answers_to_an_allowed_origin_may_be_read_and_no_others() {
    let world = World::seeded().await;
    let stack = Served::before(&world).await;
    for (request, cors) in [
        (stack.by_kari(Method::GET, "/api/v1/leads"), &API),
        (stack.get("/api/v1/leads"), &API),
        (stack.get("/nowhere"), &API),
        (stack.by_kari(Method::GET, "/api/v1/leads/export"), &EXPORT),
    ] {
        let again = request.try_clone().unwrap();
        let allowed = answer(request.header("origin", ORIGIN)).await;
        assert_eq!(allowed.header("access-control-allow-origin"), ORIGIN);
        assert_eq!(allowed.header("access-control-expose-headers"), cors.expose);
        let other = answer(again.header("origin", "https://evil.example")).await;
        assert!(!other.headers.keys().any(|name| name.as_str().starts_with("access-control-")));
    }
}

#[tokio::test]
async fn the_forms_functions_answer_for_themselves() {
    let world = World::seeded().await;
    let stack = Served::before(&world).await;
    let form = format!("/webhooks/form/{}", TESLA_OSLO.id);
    let site = "https://www.example.com";
    let preflight = stack.request(Method::OPTIONS, &form).header("access-control-request-method", "POST");
    // The frontends' origin is no site of the dealership's.
    let none = answer(preflight.try_clone().unwrap().header("origin", ORIGIN)).await.expect(204);
    assert_eq!(none.header("access-control-allow-origin"), "");
    let origins = json!({ "form": { "origins": [site] } });
    answer(stack.by_kari(Method::PATCH, "/api/v1/dealership").json(&origins)).await.expect(200);
    let allowed = answer(preflight.header("origin", site)).await.expect(204);
    assert_eq!(allowed.header("access-control-allow-origin"), site);
}

#[tokio::test]
async fn a_body_is_text_or_bytes_by_its_type() {
    let world = World::seeded().await;
    let stack = Served::before(&world).await;
    let form = format!("/webhooks/form/{}", TESLA_OSLO.id);
    let send = |content_type: &str, body: &str| {
        let request = stack.request(Method::POST, &form).header("content-type", content_type);
        answer(request.body(body.to_owned()))
    };
    send("application/json", r#"{"email":"ase@example.no"}"#).await.expect(202);
    send("application/x-www-form-urlencoded", "email=ola@example.no&bil=ID.4").await.expect(202);
    let multipart =
        "--x\r\ncontent-disposition: form-data; name=\"email\"\r\n\r\nper@example.no\r\n--x--\r\n";
    send("multipart/form-data; boundary=x", multipart).await.expect(202);
    let filed = world.count(
        "select count(*) from leads where email in ('ase@example.no', 'ola@example.no', 'per@example.no')",
    );
    assert_eq!(filed.await, 3);
}

#[tokio::test]
async fn letters_that_are_not_utf_8_are_lost_in_text_alone() {
    let world = World::seeded().await;
    let stack = Served::before(&world).await;
    let file = WINDOWS_1252.encode("Fornavn;E-post\nÅse;ase@example.no\n").0.into_owned();
    let import = |content_type: &str| {
        let request =
            stack.by_kari(Method::POST, "/api/v1/leads/import").header("content-type", content_type);
        answer(request.body(file.clone()))
    };
    let lost = import("text/csv").await.expect(422);
    assert_eq!(lost.json()["code"], "letters_lost");
    let kept = import("application/octet-stream").await.expect(200);
    assert_eq!(kept.json()["sample"][0]["first_name"], "Åse");
}

#[tokio::test]
async fn a_body_or_an_event_that_is_too_large_reaches_no_function() {
    let world = World::empty().await;
    let stack = Served::before(&world).await;
    for length in [TOO_LARGE, TOO_LARGE_AN_EVENT] {
        let request = stack.by_kari(Method::POST, "/api/v1/leads/import");
        let request = request.header("content-type", "application/octet-stream").body(vec![b'a'; length]);
        let reply = answer(request).await.expect(413);
        assert_eq!(reply.json(), json!({ "message": "Request Entity Too Large" }));
    }
}

#[tokio::test]
async fn a_stream_leaves_as_it_is_made_and_one_that_breaks_breaks_its_connection() {
    let world = World::seeded().await;
    fill(&world, 5_000).await;
    let proxy = Proxy::before(world.database.port(), Pass::AtOnce).await.unwrap();
    let world = world.through(proxy.port());
    let stack = Served::before(&world).await;
    let export = || stack.by_kari(Method::GET, "/api/v1/leads/export").send();
    let whole = export().await.unwrap();
    assert_eq!((whole.status().as_u16(), whole.headers().get("content-length")), (200, None));
    assert_eq!(whole.text().await.unwrap().matches("\r\n").count(), 5_011);

    proxy.break_at_flush(4);
    let mut half = export().await.unwrap();
    assert_eq!(half.status(), 200);
    let ended = loop {
        match half.chunk().await {
            Ok(Some(_)) => {}
            ended => break ended,
        }
    };
    assert!(ended.is_err(), "half a file looks like a whole one");
}

#[tokio::test]
async fn a_function_is_invoked_by_its_name_and_what_it_returns_is_the_answer() {
    let world = World::seeded().await;
    let stack = Served::before(&world).await;
    let health = stack.invoke("health", event("health").value()).await.expect(200).json();
    assert_eq!((&health["statusCode"], &health["isBase64Encoded"]), (&json!(200), &json!(false)));
    assert_eq!(health["headers"]["content-type"], "application/json");
    let viewer = stack.invoke("api-docs", event("api-docs/viewer").value()).await.expect(200).json();
    assert_eq!((&viewer["statusCode"], &viewer["isBase64Encoded"]), (&json!(200), &json!(true)));

    let mistyped =
        stack.invoke("clerk-reconcile", event("clerk-reconcile/mistyped").value()).await.expect(200);
    assert_eq!(mistyped.header("x-amz-function-error"), "Unhandled");
    assert_eq!(mistyped.json()["errorType"], "clerk-reconcile");
    let no_request = stack.invoke("health", &json!({ "a": 1 })).await.expect(200);
    assert_eq!(no_request.header("x-amz-function-error"), "Unhandled");

    for function in ["nobody", "migrate-database", ""] {
        stack.invoke(function, &json!({})).await.expect(404);
    }
    let not_json = stack.request(Method::POST, "/2015-03-31/functions/health/invocations");
    answer(not_json.body(Body::from("{"))).await.expect(400);
}

#[tokio::test]
async fn many_requests_are_answered_at_once() {
    let world = World::seeded().await;
    let stack = Served::before(&world).await;
    let owner = world.owner().await;
    owner.batch_execute("begin; lock table leads").await.unwrap();
    let waiting = answer(stack.by_kari(Method::GET, "/api/v1/leads"));
    let meanwhile = async {
        answer(stack.get("/health")).await.expect(200);
        owner.batch_execute("commit").await.unwrap();
    };
    let both = async { tokio::join!(waiting, meanwhile) };
    let (leads, ()) = tokio::time::timeout(Duration::from_secs(60), both).await.unwrap();
    leads.expect(200);
}

/// The values of a list, `[a, b]`, behind a name in the template, as a header has them.
fn listed(block: &str, name: &str) -> String {
    let line = block.lines().find_map(|line| line.trim().strip_prefix(&format!("{name}: ")));
    line.unwrap().trim_matches(['[', ']']).replace(", ", ",")
}

#[test]
fn its_cors_settings_are_the_templates() {
    let api = block_of(&read("template.yaml"), "Api");
    let export = block_of(&template_of("export-leads"), "ExportLeads");
    let names = ["AllowMethods", "AllowHeaders", "ExposeHeaders", "MaxAge"];
    for (block, cors) in [(api, API), (export, EXPORT)] {
        let Cors { methods, headers, expose, max_age, .. } = cors;
        assert_eq!(names.map(|name| listed(&block, name)), [methods, headers, expose, &max_age.to_string()]);
    }
}
