//! Repeated requests.
use std::sync::Arc;

use dev::people::{OLA, TESLA_OSLO, VW_BERGEN};
use serde_json::json;
use tokio::task::JoinSet;

use super::leads;
use crate::support::{World, event, kari, token, vehicle};

/// How often one request arrives at once.
const COPIES: usize = 50;

#[tokio::test]
async fn a_repeated_request_is_answered_with_the_lead_of_the_first() {
    let world = World::seeded().await;
    let first = world.send(event("create-lead").by(&kari())).await.expect(201);
    let second = world.send(event("create-lead").by(&kari())).await.expect(201);
    assert_eq!(second.json, first.json);
    for header in ["location", "etag"] {
        assert_eq!(second.header(header), first.header(header));
    }
    assert_eq!(leads(&world).await, 21);
}

#[tokio::test]
async fn without_a_key_every_request_is_a_new_lead() {
    let world = World::seeded().await;
    for _ in 0..2 {
        world.send(event("create-lead").without_header("idempotency-key").by(&kari())).await.expect(201);
    }
    assert_eq!(leads(&world).await, 22);
}

#[tokio::test]
async fn a_key_stands_for_one_body() {
    let world = World::seeded().await;
    world.send(event("create-lead").by(&kari())).await.expect(201);
    let other = event("create-lead").json(json!({"source": "manual", "first_name": "Ola"}));
    let reply = world.send(other.by(&kari())).await.expect(422);
    assert_eq!(reply.code(), "idempotency_key_reused");
    assert_eq!(leads(&world).await, 21);
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_that_arrive_at_once_make_one_lead() {
    let world = Arc::new(World::seeded().await.with_concurrency(10));
    let copy = event("create-lead").by(&kari());
    let mut copies = JoinSet::new();
    for _ in 0..COPIES {
        let (world, copy) = (world.clone(), copy.clone());
        copies.spawn(async move { world.send(copy).await.expect(201).json });
    }
    let mut answers = copies.join_all().await;
    answers.dedup();
    assert_eq!(answers.len(), 1);
    assert_eq!(leads(&world).await, 21);
}

#[tokio::test]
async fn a_key_is_its_callers_own_at_each_dealership() {
    let world = World::seeded().await;
    let ola_in_bergen = token(&VW_BERGEN, &OLA, "manager");
    let mut ids = Vec::new();
    for token in [kari(), token(&TESLA_OSLO, &OLA, "manager"), ola_in_bergen] {
        ids.push(world.send(event("create-lead").by(&token)).await.expect(201).json["id"].to_string());
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 3);
    assert_eq!(leads(&world).await, 23);
}

#[tokio::test]
async fn a_refused_request_leaves_its_key_free() {
    let world = World::seeded().await;
    let foreign = json!({"source": "manual", "first_name": "Kari", "vehicle_id": vehicle(5)});
    world.send(event("create-lead").json(foreign).by(&kari())).await.expect(422);
    assert_eq!(world.count("select count(*) from idempotency_keys").await, 0);
    world.send(event("create-lead").by(&kari())).await.expect(201);
}

#[tokio::test]
async fn the_key_of_a_lead_that_was_deleted_makes_no_second_one() {
    let world = World::seeded().await;
    let first = world.send(event("create-lead").by(&kari())).await.expect(201);
    let id = first.json["id"].as_str().unwrap();
    world.send(event("delete-lead").id(id).by(&kari())).await.expect(204);
    world.send(event("create-lead").by(&kari())).await.expect(404);
    assert_eq!(leads(&world).await, 21);
}

#[tokio::test]
async fn a_key_has_1_to_255_characters() {
    let world = World::seeded().await;
    for key in ["", " ", &"k".repeat(256)] {
        let reply =
            world.send(event("create-lead").header("idempotency-key", key).by(&kari())).await.expect(400);
        assert_eq!(reply.code(), "invalid_idempotency_key");
    }
    let longest = event("create-lead").header("idempotency-key", &"k".repeat(255));
    world.send(longest.by(&kari())).await.expect(201);
}
