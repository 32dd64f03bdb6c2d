//! Beyond a cap a submission is held, never refused; only an address that floods is turned away.
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;
use tokio::task::JoinSet;

use super::{fields, leads, receipt, verdicts, world};
use crate::support::{Event, Reply, World};

fn from(address: &str, n: usize) -> Event {
    fields(json!({ "email": format!("a{n}@b.example") })).sent_from(address)
}

fn counted(verdicts: Vec<String>) -> BTreeMap<String, usize> {
    verdicts.into_iter().fold(BTreeMap::new(), |mut all, verdict| {
        *all.entry(verdict).or_default() += 1;
        all
    })
}

async fn send_all(world: &Arc<World>, events: Vec<Event>) -> Vec<Reply> {
    let mut sent = JoinSet::new();
    for event in events {
        let world = world.clone();
        sent.spawn(async move { world.send(event).await });
    }
    sent.join_all().await
}

#[tokio::test]
async fn an_address_that_floods_is_held_first_and_then_turned_away_alone() {
    let world = world().await;
    for n in 0..100 {
        receipt(world.send(from("203.0.113.9", n)).await);
    }
    let held = counted(verdicts(&world).await);
    assert_eq!(held, BTreeMap::from([("accepted".to_owned(), 20), ("held: address_cap".to_owned(), 80)]));

    let refused = world.send(from("203.0.113.9", 100)).await.expect(429);
    assert_eq!(
        (refused.code(), refused.headers["retry-after"].to_str().unwrap()),
        ("too_many_requests", "600")
    );
    receipt(world.send(from("203.0.113.10", 101)).await);
    assert_eq!(verdicts(&world).await.len(), 101);

    // Ten minutes later it may again.
    world
        .owner()
        .await
        .batch_execute("update submissions set received_at = received_at - interval '11 minutes'")
        .await
        .unwrap();
    receipt(world.send(from("203.0.113.9", 102)).await);
    assert_eq!(verdicts(&world).await.last().unwrap(), "accepted");
}

#[tokio::test]
async fn the_addresses_of_one_ipv6_household_are_one() {
    let world = world().await;
    for n in 0..20 {
        receipt(world.send(from(&format!("2001:db8:1:2::{n:x}"), n)).await);
    }
    receipt(world.send(from("2001:db8:1:2:ffff::1", 20)).await);
    receipt(world.send(from("2001:db8:1:3::1", 21)).await);
    assert_eq!(verdicts(&world).await[20..], ["held: address_cap", "accepted"]);
}

#[tokio::test]
async fn beyond_the_hourly_cap_everything_is_held_and_spam_does_not_count() {
    let world = world().await;
    world.owner().await.batch_execute("update dealerships set form_hourly_cap = 2").await.unwrap();
    let spam =
        |n| fields(json!({ "email": format!("s{n}@b.example"), "_gotcha": "x" })).sent_from("203.0.113.1");
    for n in 0..3 {
        receipt(world.send(spam(n)).await);
        receipt(world.send(from("203.0.113.2", n)).await);
    }
    let honest: Vec<String> =
        verdicts(&world).await.into_iter().filter(|verdict| !verdict.starts_with("spam")).collect();
    assert_eq!(honest, ["accepted", "accepted", "held: hourly_cap"]);
}

/// The trap "hard per-form cap": one attacker must not be able to keep the customers out.
#[tokio::test]
async fn twenty_honest_enquiries_arrive_in_a_flood_of_five_thousand() {
    let world = Arc::new(world().await.with_concurrency(8));
    let junk = |n: usize| {
        fields(json!({ "email": format!("junk{n}@spam.example"), "message": format!("buy {n}") }))
            .sent_from(&format!("198.{}.{}.{}", 18 + n % 2, n / 2 % 256, n / 512))
    };
    let honest = |n: usize| {
        fields(json!({ "navn": format!("Kari {n}"), "epost": format!("kari{n}@example.no") }))
            .sent_from(&format!("203.0.113.{n}"))
    };
    let mut events = Vec::new();
    for n in 0..5000 {
        events.push(junk(n));
        if n % 250 == 125 {
            events.push(honest(n / 250));
        }
    }
    for batch in events.chunks(100) {
        for reply in send_all(&world, batch.to_vec()).await {
            receipt(reply);
        }
    }
    let arrived = "select count(*) from submissions where verdict in ('accepted', 'held')
                    and convert_from(body, 'UTF8') like '%@example.no%'";
    assert_eq!(world.count(arrived).await, 20);
    assert_eq!(verdicts(&world).await.len(), 5020);
    // As many as the hourly cap allows, and those that were judged at the same instant; the others wait for a person.
    assert!((200..=208).contains(&leads(&world).await.len()));
}
