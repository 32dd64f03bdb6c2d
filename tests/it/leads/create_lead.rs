//! `POST /api/v1/leads`.
mod idempotency;

use dev::people::{KARI, NINA, PER};
use insta::assert_json_snapshot;
use leads::Source;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Event, Reply, World, event, id, kari, nina, time, vehicle};

async fn leads(world: &World) -> i64 {
    world.count("select count(*) from leads").await
}

/// A new lead with this body, which no idempotency key stands for.
fn new(body: Value) -> Event {
    event("create-lead").without_header("idempotency-key").json(body)
}

async fn create(world: &World, body: Value) -> Reply {
    world.send(new(body).by(&kari())).await
}

#[tokio::test]
async fn a_new_lead_is_answered_with_its_place_and_version() {
    let world = World::seeded().await;
    let reply = world.send(event("create-lead").by(&kari())).await.expect(201);
    let id_text = reply.json["id"].as_str().unwrap();
    assert_eq!(reply.header("location"), format!("/api/v1/leads/{id_text}"));
    assert_eq!(reply.header("etag"), "\"1\"");
    assert_eq!(leads(&world).await, 21);

    let got = world.send(event("get-lead").id(id_text).by(&kari())).await.expect(200);
    assert_eq!(got.json, reply.json);
    assert_eq!(got.header("etag"), "\"1\"");
    assert_json_snapshot!(reply.json, { ".id" => id(), ".created_at" => time(), ".updated_at" => time() });
}

#[tokio::test]
async fn every_invalid_field_is_told_at_once() {
    let world = World::seeded().await;
    let reply = world.send(event("create-lead/three-faults").by(&kari())).await.expect(422);
    assert_eq!((reply.code(), reply.fields()), ("validation_failed", vec!["colour", "email", "source"]));
    assert_eq!(reply.header("content-type"), "application/problem+json");
    assert_json_snapshot!(reply.json);

    let long = |length| "a".repeat(length);
    let table: [(Value, &[&str]); 13] = [
        (json!({}), &["source"]),
        (json!({"source": null, "first_name": "Kari"}), &["source"]),
        (
            json!({"source": "manual", "first_name": long(101), "company": long(201)}),
            &["company", "first_name"],
        ),
        (json!({"source": "manual", "first_name": " ", "last_name": 7}), &["first_name", "last_name"]),
        (json!({"source": "manual", "first_name": "Kari\u{1}"}), &["first_name"]),
        (json!({"source": "manual", "phone": "ring me", "email": "kari@localhost"}), &["email", "phone"]),
        (json!({"source": "manual", "phone": "1".repeat(41)}), &["phone"]),
        (json!({"source": "manual", "vehicle_id": "1", "assigned_to": "me"}), &["assigned_to", "vehicle_id"]),
        (
            json!({"source": "manual", "attribution": {"xyz": "1", "gclid": 2}, "consent": {"marketing": "yes"}}),
            &["attribution.gclid", "attribution.xyz", "consent.marketing"],
        ),
        (json!({"source": "manual", "attribution": {"gclid": long(257)}}), &["attribution.gclid"]),
        (json!({"source": "manual", "attribution": "google"}), &["attribution"]),
        // What the server decides.
        (
            json!({"source": "manual", "id": Uuid::now_v7(), "dealership_id": Uuid::now_v7(), "status": "won",
                   "created_at": "2020-01-01T00:00:00Z", "version": 7, "phone_e164": "+4791234567"}),
            &["created_at", "dealership_id", "id", "phone_e164", "status", "version"],
        ),
        (json!([{"source": "manual", "first_name": "Kari"}]), &[""]),
    ];
    for (body, fields) in table {
        let reply = create(&world, body.clone()).await.expect(422);
        assert_eq!(reply.fields(), fields, "{body}");
    }
    assert_eq!(leads(&world).await, 20);
}

#[tokio::test]
async fn a_body_that_cannot_be_read_is_refused() {
    let world = World::seeded().await;
    let too_large = json!({"source": "manual", "message": "a".repeat(70_000)});
    for (event, status, code) in [
        (event("create-lead/not-json"), 400, "malformed_json"),
        (event("create-lead").body(""), 400, "malformed_json"),
        (event("create-lead").body(&"[".repeat(10_000)), 400, "malformed_json"),
        (event("create-lead/wrong-content-type"), 415, "unsupported_media_type"),
        (event("create-lead").without_header("content-type"), 415, "unsupported_media_type"),
        (new(too_large), 413, "too_large"),
        (new(json!({"source": "manual", "first_name": "Ka\0ri"})), 400, "malformed_json"),
        (new(json!({"source": "manual", "attribution": {"gclid": "\0"}})), 400, "malformed_json"),
        (new(json!({"source": "manual", "na\0me": "Kari"})), 400, "malformed_json"),
    ] {
        let reply = world.send(event.by(&kari())).await.expect(status);
        assert_eq!(reply.code(), code);
    }
    assert_eq!(leads(&world).await, 20);
    let with_charset = event("create-lead").header("content-type", "Application/JSON; charset=utf-8");
    world.send(with_charset.by(&kari())).await.expect(201);
}

#[tokio::test]
async fn a_phone_number_is_kept_as_typed_and_in_e164_when_it_is_understood() {
    let world = World::seeded().await;
    for (typed, kept, e164) in [
        ("912 34 567", "912 34 567", Some("+4791234567")),
        (" 91234567 ", "91234567", Some("+4791234567")),
        ("004791234567", "004791234567", Some("+4791234567")),
        ("+46 70 123 45 67", "+46 70 123 45 67", Some("+46701234567")),
        ("1234", "1234", None),
        ("ring 12 etter kl. 16", "ring 12 etter kl. 16", None),
    ] {
        let reply = create(&world, json!({"source": "manual", "phone": typed})).await.expect(201);
        assert_eq!((&reply.json["phone"], &reply.json["phone_e164"]), (&json!(kept), &json!(e164)));
    }
}

#[tokio::test]
async fn an_address_is_kept_as_typed_and_found_in_any_case() {
    let world = World::seeded().await;
    let body = json!({"source": "manual", "email": "Kari.Nordmann@Example.COM"});
    let reply = create(&world, body).await.expect(201);
    assert_eq!(reply.json["email"], "Kari.Nordmann@Example.COM");
    let found =
        world.send(event("list-leads").query("q=kari.NORDMANN@example").by(&kari())).await.expect(200);
    assert_eq!(found.ids(), [reply.json["id"].as_str().unwrap()]);
}

#[tokio::test]
async fn the_database_knows_every_source() {
    let world = World::seeded().await;
    for source in Source::NAMES {
        let reply = create(&world, json!({"source": source, "first_name": "Kari"})).await.expect(201);
        assert_eq!(reply.json["source"], *source);
    }
}

#[tokio::test]
async fn one_way_to_name_or_reach_the_customer_is_enough_and_none_is_too_few() {
    let world = World::seeded().await;
    world.send(event("create-lead/minimal").by(&kari())).await.expect(201);
    for (field, value) in
        [("first_name", "Kari"), ("last_name", "Nordmann"), ("phone", "912 34 567"), ("company", "Fjord AS")]
    {
        create(&world, json!({"source": "walk_in", field: value, "email": null})).await.expect(201);
    }
    for body in [json!({"source": "manual"}), json!({"source": "manual", "message": "Hei", "email": null})] {
        let reply = create(&world, body).await.expect(422);
        assert_eq!((reply.code(), reply.fields()), ("validation_failed", vec!["email"]));
    }
}

#[tokio::test]
async fn a_vehicle_and_an_assignee_are_the_dealerships_own() {
    let world = World::seeded().await;
    let body = |field: &str, id: Uuid| json!({"source": "manual", "first_name": "Kari", field: id});
    for (field, own) in [("vehicle_id", vehicle(1)), ("assigned_to", NINA.id), ("assigned_to", KARI.id)] {
        let reply = create(&world, body(field, own)).await.expect(201);
        assert_eq!(reply.json[field], json!(own));
    }
    // Unknown and another dealership's look the same.
    let unknown = Uuid::now_v7();
    for (field, foreign) in [
        ("vehicle_id", vehicle(5)),
        ("vehicle_id", unknown),
        ("assigned_to", PER.id),
        ("assigned_to", unknown),
    ] {
        let reply = create(&world, body(field, foreign)).await.expect(422);
        assert_eq!((reply.code(), reply.fields()), ("validation_failed", vec![field]));
    }
    assert_eq!(leads(&world).await, 23);
}

#[tokio::test]
async fn attribution_and_consent_are_kept_field_by_field() {
    let world = World::seeded().await;
    let sent: Value = serde_json::from_str(event("create-lead").text()).unwrap();
    let reply = world.send(event("create-lead").by(&kari())).await.expect(201);
    assert_eq!(reply.json["attribution"], sent["attribution"]);
    assert_eq!(reply.json["consent"], sent["consent"]);
    let nothing =
        json!({"source": "manual", "first_name": "Kari", "attribution": {"gclid": null}, "consent": {}});
    let reply = create(&world, nothing).await.expect(201);
    assert_eq!((&reply.json["attribution"], &reply.json["consent"]), (&json!({}), &json!({})));
}

#[tokio::test]
async fn a_sales_rep_creates_no_leads() {
    let world = World::seeded().await;
    let own = new(json!({"source": "walk_in", "first_name": "Kari", "assigned_to": NINA.id}));
    for event in [event("create-lead"), own] {
        let reply = world.send(event.by(&nina())).await.expect(403);
        assert_eq!(reply.code(), "forbidden");
    }
    assert_eq!(leads(&world).await, 20);
}
