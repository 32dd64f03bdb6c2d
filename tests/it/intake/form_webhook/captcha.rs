//! Turnstile: a provider that speaks its protocol on this machine.
use std::sync::{Arc, Mutex};

use dev::people::TESLA_OSLO;
use form_webhook::{Captcha, Config};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::service::service_fn;
use hyper::{Response, server::conn::http1};
use hyper_util::rt::TokioIo;
use intake::TokenKeys;
use lambda_http::Body;
use serde_json::{Value, json};
use shared::config::Settings;
use tokio::net::TcpListener;

use super::{fields, verdicts, world};
use crate::support::{FORM_SECRET, World};

/// What it was asked; what it answers follows from the token.
#[derive(Clone, Default)]
struct Provider(Arc<Mutex<Vec<Value>>>);

impl Provider {
    async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/siteverify", listener.local_addr().unwrap());
        let provider = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let provider = provider.clone();
                let answer = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                    let provider = provider.clone();
                    async move {
                        let body = request.into_body().collect().await?.to_bytes();
                        let asked: Value = serde_json::from_slice(&body).unwrap();
                        let token = asked["response"].as_str().unwrap_or_default().to_owned();
                        provider.0.lock().unwrap().push(asked);
                        let passed =
                            json!({"success": true, "hostname": "www.example.com", "action": "norvalt-form"});
                        let (status, answer) = match token.as_str() {
                            "good" => (200, passed),
                            "other-site" => (
                                200,
                                json!({"success": true, "hostname": "evil.example", "action": "norvalt-form"}),
                            ),
                            "other-action" => (
                                200,
                                json!({"success": true, "hostname": "www.example.com", "action": "login"}),
                            ),
                            "used" => {
                                (200, json!({"success": false, "error-codes": ["timeout-or-duplicate"]}))
                            }
                            "their-fault" => {
                                (200, json!({"success": false, "error-codes": ["internal-error"]}))
                            }
                            "down" => (503, json!({})),
                            "endless" => {
                                let padding = "x".repeat(64 * 1024);
                                (200, json!({"success": true, "action": "norvalt-form", "padding": padding}))
                            }
                            _ => (200, json!({"success": false, "error-codes": ["invalid-input-response"]})),
                        };
                        let body = Full::new(Bytes::from(answer.to_string()));
                        Ok::<_, hyper::Error>(Response::builder().status(status).body(body).unwrap())
                    }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
            }
        });
        url
    }
}

fn settings(url: &str) -> Settings {
    let settings = [("TURNSTILE_SECRET_KEY", "the secret key"), ("TURNSTILE_URL", url)];
    Settings::from_variables(settings.map(|(name, value)| (name.to_owned(), value.to_owned())))
}

async fn config(url: &str) -> Config {
    let captcha = Captcha::read(&settings(url)).await.unwrap();
    Config::new(TokenKeys::parse(FORM_SECRET).unwrap(), captcha)
}

async fn send(world: &World, config: &Config, token: Option<&str>) {
    let mut form = json!({ "email": format!("{}@b.example", uuid::Uuid::new_v4()) });
    if let Some(token) = token {
        form["cf-turnstile-response"] = json!(token);
    }
    let app = world.app(&form_webhook::ROUTE).await;
    let respond = app.respond(fields(form).request(), async |ctx| form_webhook::handle(ctx, config).await);
    let response: lambda_http::Response<Body> = respond.await.unwrap();
    assert_eq!(response.status(), 202, "{:?}", response.body());
}

#[tokio::test]
async fn a_failed_captcha_is_spam_and_a_provider_that_is_down_costs_no_enquiry() {
    let world = world().await;
    let owner = world.owner().await;
    owner
        .execute(
            "update dealerships set form_origins = '{https://www.example.com:8443}' where id = $1",
            &[&TESLA_OSLO.id],
        )
        .await
        .unwrap();
    let provider = Provider::default();
    let config = config(&provider.start().await).await;
    let long = "x".repeat(2049);
    let tokens = [
        (None, "accepted"),
        (Some("good"), "accepted"),
        (Some("bad"), "spam: captcha_failed"),
        (Some("used"), "spam: captcha_failed"),
        (Some("other-action"), "spam: captcha_failed"),
        (Some("other-site"), "spam: captcha_of_another_site"),
        (Some("their-fault"), "held: captcha_unavailable"),
        (Some("down"), "held: captcha_unavailable"),
        (Some("endless"), "held: captcha_unavailable"),
        (Some(long.as_str()), "spam: captcha_failed"),
    ];
    for (token, _) in tokens {
        send(&world, &config, token).await;
    }
    assert_eq!(verdicts(&world).await, tokens.map(|(_, verdict)| verdict));
    let asked = provider.0.lock().unwrap().clone();
    assert_eq!(asked.len(), 8, "neither a missing token nor one that is too long is asked about");
    assert_eq!(asked[0]["secret"], "the secret key");
    assert!(asked[0]["idempotency_key"].is_string() && asked[0].get("remoteip").is_none());
}

#[tokio::test]
async fn where_it_is_required_a_form_without_it_is_held() {
    let world = world().await;
    world.owner().await.batch_execute("update dealerships set form_captcha_required = true").await.unwrap();
    let nobody_listens = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let config = config(&format!("http://{nobody_listens}/")).await;
    for token in [None, Some("good")] {
        send(&world, &config, token).await;
    }
    assert_eq!(verdicts(&world).await, ["held: captcha_missing", "held: captcha_unavailable"]);
}

#[tokio::test]
async fn a_provider_that_anybody_on_the_way_could_answer_for_is_refused_at_the_start() {
    for url in ["http://challenges.cloudflare.com/turnstile/v0/siteverify", "ftp://127.0.0.1/", "siteverify"]
    {
        let error = Captcha::read(&settings(url)).await.err().unwrap();
        assert_eq!(
            error.to_string(),
            "TURNSTILE_URL cannot be used: not an https:// URL (http:// is for this machine)"
        );
    }
    assert!(Captcha::read(&settings("http://[::1]:8080/siteverify")).await.unwrap().is_some());
}
