//! `POST /api/v1/conversations`.
mod idempotency;
mod responses;

use dev::people::{KARI, NINA};
use insta::assert_json_snapshot;
use leads::{AuthorKind, Channel};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use uuid::Uuid;

use crate::support::{Event, World, cases, event, id, kari, lead, nina, per, time};

/// The event, about this lead.
fn about(lead: Uuid, name: &'static str) -> Event {
    let event = event(name);
    let mut body: Value = serde_json::from_str(event.text()).unwrap();
    body["lead_id"] = json!(lead);
    event.json(body)
}

/// A message that no idempotency key stands for.
fn new(body: Value) -> Event {
    event("create-conversation").without_header("idempotency-key").json(body)
}

async fn messages(world: &World) -> i64 {
    world.count("select count(*) from conversations").await
}

#[tokio::test]
async fn a_new_message_is_answered_with_its_place() {
    let world = World::seeded().await;
    let reply = world.send(about(lead(10), "create-conversation").by(&kari())).await.expect(201);
    assert_eq!(reply.header("location"), format!("/api/v1/leads/{}/conversations", lead(10)));
    assert_eq!(messages(&world).await, 32);
    let list = world.send(event("list-conversations").id(lead(10)).by(&kari())).await.expect(200);
    assert_eq!(list.json["items"], json!([reply.json]));
    assert_json_snapshot!(reply.json, { ".id" => id(), ".created_at" => time() });
}

#[tokio::test]
async fn the_lead_counts_its_messages_and_tells_the_last() {
    let world = World::seeded().await;
    let before = world.send(event("get-lead").id(lead(3)).by(&kari())).await.expect(200);
    let message = world.send(about(lead(3), "create-conversation/note").by(&kari())).await.expect(201);
    let after = world.send(event("get-lead").id(lead(3)).by(&kari())).await.expect(200);
    assert_eq!(
        (&before.json["conversation_count"], &after.json["conversation_count"]),
        (&json!(4), &json!(5))
    );
    for field in ["id", "direction", "channel", "author_kind", "body", "created_at"] {
        assert_eq!(after.json["last_message"][field], message.json[field], "{field}");
    }
    assert_ne!(before.header("etag"), after.header("etag"), "the lead is another than before");
    let listed = world.send(event("list-leads").query("q=ingrid").by(&kari())).await.expect(200);
    assert_eq!(listed.json["items"], json!([after.json]));
}

#[tokio::test]
async fn the_author_is_the_caller_when_a_human_wrote_it() {
    let world = World::seeded().await;
    let (kari_id, nina_id) = (json!(KARI.id), json!(NINA.id));
    for (event, token, author_kind, author) in [
        (about(lead(2), "create-conversation"), kari(), "human", &kari_id),
        (about(lead(2), "create-conversation"), nina(), "human", &nina_id),
        (about(lead(2), "create-conversation/ai"), kari(), "ai", &Value::Null),
        (about(lead(2), "create-conversation/inbound"), kari(), "customer", &Value::Null),
        // What the body leaves out.
        (new(json!({"lead_id": lead(2), "channel": "sms", "body": "Hei"})), kari(), "human", &kari_id),
        (
            new(json!({"lead_id": lead(2), "channel": "sms", "body": "Hei", "direction": "inbound"})),
            kari(),
            "customer",
            &Value::Null,
        ),
    ] {
        let reply = world.send(event.by(&token)).await.expect(201);
        assert_eq!((&reply.json["author_kind"], &reply.json["author_id"]), (&json!(author_kind), author));
    }
}

#[tokio::test]
async fn the_database_knows_every_channel_and_author() {
    let world = World::seeded().await;
    for channel in Channel::NAMES {
        for author_kind in AuthorKind::NAMES {
            let direction = if *author_kind == "customer" { "inbound" } else { "outbound" };
            let body = json!({"lead_id": lead(10), "channel": channel, "author_kind": author_kind,
                              "direction": direction, "body": "Hei"});
            let is_customers_note = (*channel, *author_kind) == ("note", "customer");
            world.send(new(body).by(&kari())).await.expect(if is_customers_note { 422 } else { 201 });
        }
    }
}

#[tokio::test]
async fn every_invalid_field_is_told_at_once() {
    let world = World::seeded().await;
    let message = |changes: Value| {
        let mut body = json!({"lead_id": lead(1), "channel": "email", "body": "Hei"});
        body.as_object_mut().unwrap().append(&mut changes.as_object().unwrap().clone());
        new(body)
    };
    let table: Vec<(Event, &[&str])> = vec![
        (about(lead(1), "create-conversation/unknown-channel"), &["channel"]),
        (new(json!({})), &["body", "channel", "lead_id"]),
        (
            message(json!({"channel": "fax", "direction": "up", "body": " ", "auto_reply": "no"})),
            &["auto_reply", "body", "channel", "direction"],
        ),
        (message(json!({"body": "a".repeat(20_001)})), &["body"]),
        (message(json!({"lead_id": "1", "author_id": KARI.id})), &["author_id", "lead_id"]),
        (message(json!({"direction": "inbound", "author_kind": "human"})), &["author_kind"]),
        (message(json!({"direction": "inbound", "author_kind": "ai"})), &["author_kind"]),
        (message(json!({"direction": "outbound", "author_kind": "customer"})), &["author_kind"]),
        (message(json!({"direction": "inbound", "channel": "note"})), &["direction"]),
        (message(json!({"message_metadata": null})), &["message_metadata"]),
        (message(json!({"message_metadata": []})), &["message_metadata"]),
        (message(json!({"message_metadata": "{}"})), &["message_metadata"]),
        (message(json!({"message_metadata": 7})), &["message_metadata"]),
    ];
    for (event, fields) in table {
        let body = event.text().to_owned();
        let reply = world.send(event.by(&kari())).await.expect(422);
        assert_eq!((reply.code(), reply.fields()), ("validation_failed", fields.to_vec()), "{body}");
    }
    for (event, status) in [
        (event("create-conversation").body("{"), 400),
        (message(json!({"message_metadata": {"a": ["\0"]}})), 400),
        (message(json!({"body": "a".repeat(70_000)})), 413),
        (event("create-conversation").header("content-type", "text/plain"), 415),
    ] {
        world.send(event.by(&kari())).await.expect(status);
    }
    assert_eq!(messages(&world).await, 31);
}

#[tokio::test]
async fn what_is_not_yours_or_not_there_is_not_found_and_leaves_the_key_free() {
    let world = World::seeded().await;
    world.send(event("delete-lead").id(lead(3)).by(&kari())).await.expect(204);
    let unknown = about(Uuid::now_v7(), "create-conversation");
    let unknown = world.send(unknown.by(&kari())).await.expect(404);
    for (id, token) in
        [(lead(13), kari()), (lead(1), per()), (lead(3), kari()), (lead(3), nina()), (lead(4), nina())]
    {
        let reply = world.send(about(id, "create-conversation").by(&token)).await.expect(404);
        assert_eq!(reply.json, unknown.json);
        let keyless = about(id, "create-conversation").without_header("idempotency-key");
        assert_eq!(world.send(keyless.by(&token)).await.expect(404).json, unknown.json);
    }
    assert_eq!(world.count("select count(*) from idempotency_keys").await, 0);
    assert_eq!(messages(&world).await, 31);
    // A sales rep answers their own.
    world.send(about(lead(2), "create-conversation").by(&nina())).await.expect(201);
}

/// Any JSON but NUL, which PostgreSQL does not hold, and -0.0 and large floats, which it writes as integers.
fn any_json() -> impl Strategy<Value = Value> {
    let text = "[^\0]{0,12}";
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter("a float again", |x| *x != 0.0 && x.abs() < 1e15).prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map(text, inner, 0..4).prop_map(|fields| fields.into_iter().collect()),
        ]
    })
}

#[test]
fn any_json_object_comes_back_as_metadata() {
    let runtime = Runtime::new().unwrap();
    let world = runtime.block_on(World::seeded());
    let property = async |metadata: Value| {
        let body =
            json!({"lead_id": lead(1), "channel": "note", "body": "Hei", "message_metadata": metadata});
        let reply = world.send(new(body).by(&kari())).await.expect(201);
        prop_assert_eq!(&reply.json["message_metadata"], &metadata);
        Ok(())
    };
    let object =
        btree_map("[^\0]{0,12}", any_json(), 0..5).prop_map(|fields| fields.into_iter().collect::<Value>());
    TestRunner::new(cases(64)).run(&object, |metadata| runtime.block_on(property(metadata))).unwrap();
}
