//! `OPTIONS /webhooks/form/{dealership_id}`.
use dev::people::{TESLA_OSLO, VW_BERGEN};
use uuid::Uuid;

use crate::support::{Event, Reply, World, event};

/// The question of a page at `origin`.
fn ask(origin: &str) -> Event {
    event("form-preflight").path("dealership_id", TESLA_OSLO.id).header("origin", origin)
}

/// Two dealerships with an origin each.
async fn world() -> World {
    let world = World::seeded().await;
    let set = "update dealerships set form_origins = case id when $1 then '{https://a.example,http://localhost:3000}'::text[]
                                                        else '{https://b.example}' end";
    world.owner().await.execute(set, &[&TESLA_OSLO.id]).await.unwrap();
    world
}

fn allowed(reply: &Reply) -> Vec<(&str, &str)> {
    let headers = reply.headers.iter().filter(|(name, _)| name.as_str().starts_with("access-control-"));
    headers.map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect()
}

#[tokio::test]
async fn a_script_of_the_dealerships_own_origin_may_send() {
    let world = world().await;
    for origin in ["https://a.example", "http://localhost:3000"] {
        let reply = world.send(ask(origin)).await.expect(204);
        assert_eq!(
            allowed(&reply),
            [
                ("access-control-allow-origin", origin),
                ("access-control-allow-methods", "POST"),
                ("access-control-allow-headers", "content-type, idempotency-key"),
                ("access-control-max-age", "600"),
            ]
        );
        assert_eq!(reply.header("vary"), "origin");
    }
}

#[tokio::test]
async fn any_other_origin_is_told_nothing() {
    let world = world().await;
    for origin in [
        "https://b.example",
        "http://a.example",
        "https://a.example:444",
        "https://a.example.b.example",
        "https://A.example",
        "null",
        "*",
        "",
    ] {
        let reply = world.send(ask(origin)).await.expect(204);
        assert_eq!((allowed(&reply), reply.header("vary")), (vec![], "origin"), "{origin}");
    }
    let reply = world.send(ask("").without_header("origin")).await.expect(204);
    assert_eq!(allowed(&reply), []);
    let theirs = world.send(ask("https://b.example").path("dealership_id", VW_BERGEN.id)).await.expect(204);
    assert_eq!(theirs.header("access-control-allow-origin"), "https://b.example");
}

#[tokio::test]
async fn there_is_no_form_where_no_enquiry_is_taken() {
    let world = world().await;
    world.send(ask("https://a.example").path("dealership_id", Uuid::from_u128(1))).await.expect(404);
    world.send(ask("https://a.example").path("dealership_id", "tesla-oslo")).await.expect(400);
    let suspend = "update dealerships set subscription_status = 'suspended'";
    world.owner().await.batch_execute(suspend).await.unwrap();
    world.send(ask("https://a.example")).await.expect(404);
}
