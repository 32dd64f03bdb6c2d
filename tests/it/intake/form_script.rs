//! `GET /webhooks/form/{dealership_id}/form.js`; `tests/browser` runs it.
use dev::people::{TESLA_OSLO, VW_BERGEN};
use form_script::Config;
use intake::{RenderToken, TokenKeys};
use jiff::{SignedDuration, Timestamp};
use leads::Attribution;
use serde_json::Value;
use uuid::Uuid;

use crate::support::{Event, FORM_SECRET, Reply, World, event};

fn script() -> Event {
    event("form-script").path("dealership_id", TESLA_OSLO.id)
}

/// What the script is given at its end.
fn given(reply: &Reply) -> Value {
    let text = reply.json.as_str().unwrap();
    let (_, given) = text.rsplit_once(")(").unwrap();
    serde_json::from_str(given.strip_suffix(");\n").unwrap()).unwrap()
}

#[tokio::test]
async fn the_script_has_a_fresh_token_of_this_dealership() {
    let world = World::seeded().await;
    let reply = world.send(script()).await.expect(200);
    assert_eq!(reply.header("content-type"), "text/javascript; charset=utf-8");
    assert_eq!(reply.header("cache-control"), "no-store");
    let (keys, later) =
        (TokenKeys::parse(FORM_SECRET).unwrap(), Timestamp::now() + SignedDuration::from_secs(5));
    let given = given(&reply);
    let token = given["token"].as_str().unwrap();
    assert_eq!(keys.verify(TESLA_OSLO.id, token, later), RenderToken::Good);
    assert_eq!(keys.verify(VW_BERGEN.id, token, later), RenderToken::Forged);
    // A content system adds a version to every script's address.
    world.send(script().query("ver=6.8")).await.expect(200);
}

#[tokio::test]
async fn it_says_of_the_settings_only_whether_there_is_a_captcha() {
    let world = World::seeded().await;
    let set = "update dealerships set form_origins = '{https://a.example}', form_redirect_origins = '{https://b.example}',
                      form_captcha_required = id = $1, form_hourly_cap = 4711";
    world.owner().await.execute(set, &[&TESLA_OSLO.id]).await.unwrap();
    let mapping = "insert into form_mappings (dealership_id, version, fields) values ($1, 1, '{\"hemmelig\": \"email\"}')";
    world.owner().await.execute(mapping, &[&TESLA_OSLO.id]).await.unwrap();

    let keys = || TokenKeys::parse(FORM_SECRET).unwrap();
    let with = Config { keys: keys(), captcha: Some("1x00000000000000000000AA".to_owned()) };
    let without = Config { keys: keys(), captcha: None };
    let app = world.app(&form_script::ROUTE).await;
    for (config, dealership, captcha) in [
        (&with, TESLA_OSLO.id, Value::from("1x00000000000000000000AA")),
        (&with, VW_BERGEN.id, Value::Null),
        (&without, TESLA_OSLO.id, Value::Null),
    ] {
        let request = script().path("dealership_id", dealership).request();
        let reply = app.respond(request, async |ctx| form_script::handle(ctx, config).await).await.unwrap();
        let reply = Reply::from(reply).expect(200);
        let given = given(&reply);
        assert_eq!(given["captcha"], captcha);
        assert_eq!(given.as_object().unwrap().len(), 2, "{given}");
        for private in ["a.example", "b.example", "4711", "hemmelig", FORM_SECRET] {
            assert!(!reply.json.as_str().unwrap().contains(private), "{private}");
        }
    }
}

#[tokio::test]
async fn it_runs_under_a_strict_policy_and_fetches_from_nobody_but_the_captcha() {
    let world = World::seeded().await;
    let reply = world.send(script()).await.expect(200);
    let text = reply.json.as_str().unwrap();
    for forbidden in
        ["eval(", "new Function", "innerHTML", "document.write", "localStorage", "sessionStorage", "cookie"]
    {
        assert!(!text.contains(forbidden), "{forbidden}");
    }
    let addresses: Vec<&str> = text.match_indices("https://").map(|(at, _)| &text[at..at + 34]).collect();
    assert_eq!(addresses, ["https://challenges.cloudflare.com/"]);
}

#[tokio::test]
async fn it_fills_in_every_attribution_that_a_lead_has() {
    let world = World::seeded().await;
    let reply = world.send(script()).await.expect(200);
    for field in Attribution::FIELDS {
        assert!(reply.json.as_str().unwrap().contains(&format!("\"{field}\"")), "{field}");
    }
}

#[tokio::test]
async fn there_is_no_script_where_no_enquiry_is_taken() {
    let world = World::seeded().await;
    world.send(script().path("dealership_id", Uuid::from_u128(1))).await.expect(404);
    world.send(script().path("dealership_id", "tesla-oslo")).await.expect(400);
    world.owner().await.batch_execute("update dealerships set deleted_at = now()").await.unwrap();
    world.send(script()).await.expect(404);
}
