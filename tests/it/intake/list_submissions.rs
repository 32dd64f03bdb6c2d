//! `GET /api/v1/submissions`.
use dev::people::TESLA_OSLO;
use insta::assert_json_snapshot;

use crate::support::{Reply, World, event, kari, nina, ola, per, time};

async fn list(world: &World, token: &str, query: &str) -> Reply {
    world.send(event("list-submissions").query(query).by(token)).await
}

#[tokio::test]
async fn it_shows_what_was_read_and_why_it_waits() {
    let world = World::seeded().await;
    let held = list(&world, &kari(), "verdict=held").await.expect(200);
    assert_json_snapshot!(held.json, { ".items[].received_at" => time() });
}

#[tokio::test]
async fn the_newest_is_first_and_a_verdict_is_a_filter() {
    let world = World::seeded().await;
    let all = list(&world, &ola(), "").await.expect(200);
    let ids = |n: u16| crate::support::submission(n).to_string();
    assert_eq!(all.ids(), [ids(1), ids(2)]);
    assert_eq!(list(&world, &ola(), "verdict=spam").await.expect(200).ids(), [ids(2)]);
    assert_eq!(list(&world, &ola(), "verdict=accepted").await.expect(200).ids(), [""; 0]);
    assert_eq!(list(&world, &per(), "").await.expect(200).ids(), [ids(3)]);
    assert_eq!(
        list(&world, &ola(), "verdict=odd&color=red").await.expect(400).fields(),
        ["color", "verdict"]
    );
    list(&world, &nina(), "").await.expect(403);
}

#[tokio::test]
async fn pages_follow_each_other_while_more_come_in() {
    let world = World::seeded().await;
    let mut pages = Vec::new();
    let mut query = "limit=1".to_owned();
    loop {
        let page = list(&world, &kari(), &query).await.expect(200);
        pages.extend(page.ids().into_iter().map(str::to_owned));
        world.send(event("form-webhook").path("dealership_id", TESLA_OSLO.id)).await.expect(202);
        let Some(cursor) = page.json["next_cursor"].as_str() else { break };
        query = format!("limit=1&cursor={cursor}");
    }
    assert_eq!(pages, [1, 2].map(|n| crate::support::submission(n).to_string()));
    let leads = world.send(event("list-leads").query("limit=1").by(&kari())).await;
    let foreign = format!("cursor={}", leads.json["next_cursor"].as_str().unwrap());
    assert_eq!(list(&world, &kari(), &foreign).await.expect(400).fields(), ["cursor"]);
}
