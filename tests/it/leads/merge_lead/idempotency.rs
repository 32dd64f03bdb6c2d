//! Repeated requests.
use std::sync::Arc;

use serde_json::json;
use tokio::task::JoinSet;

use super::{get, patch};
use crate::support::leads::merge;
use crate::support::{World, event, kari, lead};

/// How often one request arrives at once.
const COPIES: usize = 20;

#[tokio::test]
async fn a_repeated_request_is_answered_with_the_merge_of_the_first_as_it_is_now() {
    let world = World::seeded().await;
    let first = world.send(event("merge-lead").by(&kari())).await.expect(201);
    let second = world.send(event("merge-lead").by(&kari())).await.expect(201);
    assert_eq!(second.json, first.json);
    for header in ["location", "etag"] {
        assert_eq!(second.header(header), first.header(header));
    }
    patch(&world, lead(4), json!({"company": "Ny AS"})).await;
    let third = world.send(event("merge-lead").by(&kari())).await.expect(201);
    assert_eq!(third.json["survivor"], get(&world, lead(4)).await.json);

    let id = first.json["id"].as_str().unwrap();
    let undone = world.send(event("undo-merge").id(id).by(&kari())).await.expect(200);
    let fourth = world.send(event("merge-lead").by(&kari())).await.expect(201);
    assert_eq!(fourth.json["undone_at"], undone.json["undone_at"]);
    assert_eq!(world.count("select count(*) from merges").await, 1);
}

#[tokio::test]
async fn a_key_stands_for_one_survivor_and_one_other() {
    let world = World::seeded().await;
    world.send(event("merge-lead").by(&kari())).await.expect(201);
    let others = [event("merge-lead").json(json!({"lead_id": lead(2)})), event("merge-lead").id(lead(1))];
    for other in others {
        let reply = world.send(other.by(&kari())).await.expect(422);
        assert_eq!(reply.code(), "idempotency_key_reused");
    }
    assert_eq!(world.count("select count(*) from merges").await, 1);
}

#[tokio::test]
async fn a_refused_request_leaves_its_key_free() {
    let world = World::seeded().await;
    let keyed = || event("merge-lead").by(&kari());
    world.send(keyed().json(json!({"lead_id": lead(13)}))).await.expect(404);
    world.send(keyed().header("if-match", "\"9999\"")).await.expect(412);
    world.send(merge(lead(2), lead(3)).by(&kari())).await.expect(201);
    world.send(keyed()).await.expect(409);
    assert_eq!(world.count("select count(*) from idempotency_keys").await, 0);
    world.send(keyed().json(json!({"lead_id": lead(1)}))).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_that_arrive_at_once_make_one_merge() {
    let world = Arc::new(World::seeded().await.with_concurrency(10));
    let copy = event("merge-lead").by(&kari());
    let mut copies = JoinSet::new();
    for _ in 0..COPIES {
        let (world, copy) = (world.clone(), copy.clone());
        copies.spawn(async move { world.send(copy).await.expect(201).json });
    }
    let mut answers = copies.join_all().await;
    answers.dedup();
    assert_eq!(answers.len(), 1);
    assert_eq!(world.count("select count(*) from merges").await, 1);
}
