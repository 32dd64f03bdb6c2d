//! Repeated requests.
use std::sync::Arc;

use dev::people::{OLA, TESLA_OSLO};
use serde_json::json;
use tokio::task::JoinSet;

use super::{about, messages};
use crate::support::{World, event, kari, lead, nina, token};

/// How often one request arrives at once.
const COPIES: usize = 20;

#[tokio::test]
async fn a_repeated_request_is_answered_with_the_message_of_the_first() {
    let world = World::seeded().await;
    let first = world.send(about(lead(10), "create-conversation").by(&kari())).await.expect(201);
    let second = world.send(about(lead(10), "create-conversation").by(&kari())).await.expect(201);
    assert_eq!((&second.json, second.header("location")), (&first.json, first.header("location")));
    assert_eq!(messages(&world).await, 32);
    let lead = world.send(event("get-lead").id(lead(10)).by(&kari())).await.expect(200);
    assert_eq!(lead.json["conversation_count"], 1);
}

#[tokio::test]
async fn a_key_stands_for_one_body_also_on_another_lead() {
    let world = World::seeded().await;
    world.send(about(lead(10), "create-conversation").by(&kari())).await.expect(201);
    let other_text = json!({"lead_id": lead(10), "channel": "email", "body": "Noe annet"});
    for other in [event("create-conversation").json(other_text), about(lead(1), "create-conversation")] {
        let reply = world.send(other.by(&kari())).await.expect(422);
        assert_eq!(reply.code(), "idempotency_key_reused");
    }
    assert_eq!(messages(&world).await, 32);
}

#[tokio::test]
async fn a_key_is_its_callers_own() {
    let world = World::seeded().await;
    for token in [kari(), token(&TESLA_OSLO, &OLA, "manager"), nina()] {
        world.send(about(lead(2), "create-conversation").by(&token)).await.expect(201);
    }
    assert_eq!(messages(&world).await, 34);
}

#[tokio::test]
async fn a_key_for_a_lead_stands_for_no_message() {
    let world = World::seeded().await;
    let key = "one-key-for-two-routes";
    world.send(event("create-lead").header("idempotency-key", key).by(&kari())).await.expect(201);
    let message = about(lead(10), "create-conversation").header("idempotency-key", key);
    world.send(message.by(&kari())).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_that_arrive_at_once_make_one_message() {
    let world = Arc::new(World::seeded().await.with_concurrency(10));
    let copy = about(lead(10), "create-conversation").by(&kari());
    let mut copies = JoinSet::new();
    for _ in 0..COPIES {
        let (world, copy) = (world.clone(), copy.clone());
        copies.spawn(async move { world.send(copy).await.expect(201).json });
    }
    let mut answers = copies.join_all().await;
    answers.dedup();
    assert_eq!(answers.len(), 1);
    assert_eq!(messages(&world).await, 32);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_arrive_at_once_are_all_counted() {
    let world = Arc::new(World::seeded().await.with_concurrency(10));
    let message = about(lead(10), "create-conversation").without_header("idempotency-key").by(&kari());
    let mut writers = JoinSet::new();
    for _ in 0..COPIES {
        let (world, message) = (world.clone(), message.clone());
        writers.spawn(async move { world.send(message).await.expect(201) });
    }
    writers.join_all().await;
    let lead = world.send(event("get-lead").id(lead(10)).by(&kari())).await.expect(200);
    assert_eq!(lead.json["conversation_count"], COPIES);
}
