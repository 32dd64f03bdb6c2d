//! `GET /api/v1/leads/{id}/conversations`.
use std::collections::BTreeSet;

use dev::people::TESLA_OSLO;
use insta::assert_json_snapshot;
use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

use crate::support::{Reply, World, event, kari, lead, nina, per, time};

async fn list(world: &World, n: u16, query: &str) -> Reply {
    world.send(event("list-conversations").id(lead(n)).by(&kari()).query(query)).await
}

#[tokio::test]
async fn the_messages_of_a_lead_are_listed_oldest_first() {
    let world = World::seeded().await;
    let page = list(&world, 3, "").await.expect(200);
    let at = |n: usize| page.json["items"][n]["created_at"].as_str().unwrap().parse::<Timestamp>().unwrap();
    assert!((1..4).all(|n| at(n - 1) < at(n)));
    assert_eq!(page.header("cache-control"), "no-store");
    assert_json_snapshot!(page.json, { ".items[].created_at" => time() });
}

#[tokio::test]
async fn pages_of_one_message_are_the_whole_list() {
    let world = World::seeded().await;
    let whole = list(&world, 3, "").await.expect(200);
    let mut cursor = String::new();
    for id in whole.ids() {
        let page = list(&world, 3, &format!("limit=1{cursor}")).await.expect(200);
        assert_eq!(page.ids(), [id]);
        cursor = format!("&cursor={}", page.json["next_cursor"].as_str().unwrap_or("none"));
    }
    assert_eq!(cursor, "&cursor=none");
}

#[tokio::test]
async fn a_lead_without_messages_has_an_empty_page_and_one_that_is_not_yours_none() {
    let world = World::seeded().await;
    let empty = list(&world, 10, "").await.expect(200);
    assert_eq!(empty.json, json!({"items": [], "next_cursor": null}));

    world.send(event("delete-lead").id(lead(3)).by(&kari())).await.expect(204);
    let unknown = world.send(event("list-conversations").id(Uuid::now_v7()).by(&kari())).await.expect(404);
    assert_eq!(unknown.code(), "not_found");
    for (n, token) in [(13, kari()), (1, per()), (4, nina()), (1, nina()), (3, kari()), (3, nina())] {
        let reply = world.send(event("list-conversations").id(lead(n)).by(&token)).await.expect(404);
        assert_eq!(reply.json, unknown.json, "{n}");
    }
    let own = world.send(event("list-conversations").id(lead(2)).by(&nina())).await.expect(200);
    assert_eq!(own.ids().len(), 2);
}

#[tokio::test]
async fn a_page_has_1_to_100_messages_50_by_default_and_its_cursor_leads_to_the_end() {
    let world = World::seeded().await;
    let owner = world.owner().await;
    // All of one moment: the ids alone tell them apart.
    let insert = "insert into conversations (dealership_id, lead_id, direction, channel, author_kind, body)
                  select $1, $2, 'inbound', 'sms', 'customer', 'Hei' from generate_series(1, 120)";
    owner.execute(insert, &[&TESLA_OSLO.id, &lead(10)]).await.unwrap();
    for (query, expected) in [("limit=1", 1), ("", 50), ("limit=100", 100)] {
        assert_eq!(list(&world, 10, query).await.expect(200).ids().len(), expected, "{query}");
    }

    let mut seen = Vec::new();
    let mut query = "limit=40".to_owned();
    // The last page is full, and still the last.
    for _ in 0..3 {
        let page = list(&world, 10, &query).await.expect(200);
        assert_eq!(page.ids().len(), 40);
        seen.extend(page.ids().into_iter().map(str::to_owned));
        query = format!("limit=40&cursor={}", page.json["next_cursor"].as_str().unwrap_or("none"));
    }
    assert_eq!(query, "limit=40&cursor=none");
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 120);
    assert!(seen.is_sorted());
}

#[tokio::test]
async fn a_message_that_arrives_between_two_pages_is_on_the_last() {
    let world = World::seeded().await;
    let first = list(&world, 3, "limit=3").await.expect(200);
    let body = json!({"lead_id": lead(3), "channel": "note", "body": "Husk kaffe"});
    let new = event("create-conversation").json(body);
    let new = world.send(new.by(&kari())).await.expect(201);
    let cursor = first.json["next_cursor"].as_str().unwrap();
    let second = list(&world, 3, &format!("limit=3&cursor={cursor}")).await.expect(200);
    assert_eq!(second.json["items"][1], new.json);
    assert_eq!(second.json["next_cursor"], json!(null));
}

#[tokio::test]
async fn every_wrong_parameter_is_named_at_once() {
    let world = World::seeded().await;
    let leads = world.send(event("list-leads").query("limit=1").by(&kari())).await.expect(200);
    let of_leads = format!("cursor={}", leads.json["next_cursor"].as_str().unwrap());
    let table: [(&str, &[&str]); 6] = [
        ("limit=0", &["limit"]),
        ("limit=101", &["limit"]),
        ("cursor=x", &["cursor"]),
        (&of_leads, &["cursor"]),
        ("status=new", &["status"]),
        ("limit=x&cursor=x&colour=red&colour=blue", &["colour", "colour", "cursor", "limit"]),
    ];
    for (query, fields) in table {
        let reply = list(&world, 3, query).await.expect(400);
        assert_eq!((reply.code(), reply.fields()), ("invalid_parameters", fields.to_vec()), "{query}");
    }
    let reply = world.send(event("list-conversations").id("not-a-uuid").by(&kari())).await.expect(400);
    assert_eq!(reply.fields(), ["id"]);
}
