//! `POST /api/v1/submissions/{id}/reject`.
use dev::people::{OLA, TESLA_OSLO};
use serde_json::json;
use uuid::Uuid;

use crate::support::{Reply, World, event, kari, nina, ola, submission};

async fn reject(world: &World, token: &str, id: Uuid) -> Reply {
    world.send(event("reject-submission").id(id).by(token)).await
}

#[tokio::test]
async fn what_is_rejected_is_spam_and_says_who_rejected_it() {
    let world = World::seeded().await;
    let rejected = reject(&world, &ola(), submission(1)).await.expect(200);
    assert_eq!((&rejected.json["verdict"], &rejected.json["reviewed_by"]), (&json!("spam"), &json!(OLA.id)));
    reject(&world, &ola(), submission(1)).await.expect(200);
    // And may be released after all.
    let released = world.send(event("release-submission").id(submission(1)).by(&kari())).await.expect(200);
    assert_eq!(released.json["verdict"], "accepted");
}

#[tokio::test]
async fn what_is_on_a_lead_is_no_longer_to_be_rejected() {
    let world = World::seeded().await;
    let sent = event("form-webhook").path("dealership_id", TESLA_OSLO.id);
    let id: Uuid = world.send(sent).await.expect(202).json["receipt_id"].as_str().unwrap().parse().unwrap();
    assert_eq!(reject(&world, &kari(), id).await.expect(409).code(), "already_filed");
    let verdict = "select verdict from submissions where id = $1";
    assert_eq!(world.row(verdict, &[&id]).await.get::<_, &str>(0), "accepted");
}

#[tokio::test]
async fn another_dealerships_is_not_there() {
    let world = World::seeded().await;
    reject(&world, &kari(), submission(3)).await.expect(404);
    reject(&world, &nina(), submission(1)).await.expect(403);
    assert_eq!(world.count("select count(*) from submissions where reviewed_by is not null").await, 0);
}
