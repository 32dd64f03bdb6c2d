//! Conditions, and changes at once.
use std::sync::Arc;

use serde_json::json;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::{get, patch};
use crate::support::{World, event, kari, lead};

/// How many change one lead at once.
const WRITERS: u16 = 10;

#[tokio::test]
async fn a_stale_etag_changes_nothing_and_a_fresh_one_does() {
    let world = World::seeded().await;
    let before = get(&world, 1).await;
    let etag = before.header("etag");
    let change = |company: &str| patch(1, json!({"company": company})).by(&kari()).header("if-match", etag);
    let changed = world.send(change("Første AS")).await.expect(200);
    assert_ne!(changed.header("etag"), etag);

    let stale = world.send(change("Andre AS")).await.expect(412);
    assert_eq!(stale.code(), "precondition_failed");
    let after = get(&world, 1).await;
    assert_eq!(after.json["company"], "Første AS");
    assert_eq!(after.header("etag"), changed.header("etag"));
}

#[tokio::test]
async fn a_condition_is_any_of_its_tags_and_what_is_no_tag_of_ours_matches_nothing() {
    let world = World::seeded().await;
    let fresh = || async { get(&world, 1).await.header("etag").to_owned() };
    for condition in [format!("\"7777\", {}", fresh().await), "*".to_owned()] {
        let event = patch(1, json!({"company": "Ny AS"})).header("if-match", &condition);
        world.send(event.by(&kari())).await.expect(200);
    }
    let (weak, bare) = (format!("W/{}", fresh().await), fresh().await.replace('"', ""));
    for condition in ["", "\"\"", &weak, &bare, "\"99999999999999999999\""] {
        let event = patch(1, json!({"company": "Annen AS"})).header("if-match", condition);
        world.send(event.by(&kari())).await.expect(412);
    }
    world.send(event("patch-lead/if-match-stale").id(lead(1)).by(&kari())).await.expect(412);
    assert_eq!(get(&world, 1).await.json["company"], "Ny AS");
}

#[tokio::test]
async fn a_lead_that_is_not_there_is_not_found_whatever_the_condition() {
    let world = World::seeded().await;
    for id in [lead(13), Uuid::now_v7()] {
        let stale = event("patch-lead/if-match-stale").id(id);
        world.send(stale.by(&kari())).await.expect(404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_patches_at_once_on_one_etag_one_wins() {
    let world = Arc::new(World::seeded().await.with_concurrency(usize::from(WRITERS)));
    let etag = get(&world, 1).await.header("etag").to_owned();
    let mut writers = JoinSet::new();
    for n in 0..WRITERS {
        let event = patch(1, json!({"company": format!("{n} AS")})).by(&kari()).header("if-match", &etag);
        let world = world.clone();
        writers.spawn(async move { world.send(event).await });
    }
    let (won, lost): (Vec<_>, Vec<_>) =
        writers.join_all().await.into_iter().partition(|reply| reply.status == 200);
    assert_eq!(won.len(), 1);
    assert!(lost.iter().all(|reply| reply.status == 412));
    assert_eq!(get(&world, 1).await.json, won[0].json);
}

#[tokio::test(flavor = "multi_thread")]
async fn patches_at_once_of_different_fields_all_stay() {
    let world = Arc::new(World::seeded().await.with_concurrency(usize::from(WRITERS)));
    let fields = ["utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content", "utm_id", "gclid"];
    let mut writers = JoinSet::new();
    for field in fields {
        let event = patch(4, json!({"attribution": {field: field}})).by(&kari());
        let world = world.clone();
        writers.spawn(async move { world.send(event).await.expect(200) });
    }
    writers.join_all().await;
    let attribution = get(&world, 4).await.json["attribution"].clone();
    for field in fields {
        assert_eq!(attribution[field], field);
    }
}
