//! Merges beside merges, changes and messages.
use std::sync::Arc;

use serde_json::json;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::support::leads::merge;
use crate::support::{Event, Reply, World, event, kari, lead};

/// How many requests of a kind arrive at once.
const CALLERS: u16 = 8;
/// How often the same is tried, for a race that is lost now and then.
const ROUNDS: usize = 5;

/// Sends them all at once.
async fn at_once(world: &Arc<World>, events: Vec<Event>) -> Vec<(&'static str, Reply)> {
    let mut sent = JoinSet::new();
    for event in events {
        let (world, function) = (world.clone(), event.function);
        sent.spawn(async move { (function, world.send(event.by(&kari())).await) });
    }
    sent.join_all().await
}

async fn world() -> Arc<World> {
    Arc::new(World::seeded().await.with_concurrency(usize::from(CALLERS)))
}

/// No message is on a lead that is out of sight, and every lead counts its own.
async fn assert_nothing_is_lost(world: &World) {
    let hidden = "select count(*) from conversations c join leads l on l.id = c.lead_id where l.merged_into is not null";
    assert_eq!(world.count(hidden).await, 0, "a message is on a merged lead");
    let miscounted = "select count(*) from leads l where merged_into is null and conversation_count
                          <> (select count(*) from conversations c where c.lead_id = l.id)";
    assert_eq!(world.count(miscounted).await, 0, "a lead has another number of messages than it says");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_merges_of_two_leads_at_once_in_either_direction_one_happens() {
    let world = world().await;
    for round in 0..ROUNDS {
        let both =
            (0..CALLERS).map(|n| if n % 2 == 0 { merge(lead(4), lead(3)) } else { merge(lead(3), lead(4)) });
        let replies = at_once(&world, both.collect()).await;
        let (won, lost): (Vec<_>, Vec<_>) = replies.iter().partition(|(_, reply)| reply.status == 201);
        assert_eq!(won.len(), 1, "round {round}");
        assert!(lost.iter().all(|(_, reply)| reply.code() == "lead_merged"), "{lost:?}");
        assert_nothing_is_lost(&world).await;

        let undo = event("undo-merge").id(won[0].1.json["id"].as_str().unwrap());
        let replies = at_once(&world, vec![undo; usize::from(CALLERS)]).await;
        let (done, late): (Vec<_>, Vec<_>) = replies.iter().partition(|(_, reply)| reply.status == 200);
        assert_eq!(done.len(), 1);
        assert!(late.iter().all(|(_, reply)| reply.code() == "merge_undone"), "{late:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn merges_in_a_circle_at_once_leave_one_lead_and_no_deadlock() {
    let world = world().await;
    for _ in 0..ROUNDS {
        let circle = [(2, 3), (3, 4), (4, 5), (5, 6), (6, 2)];
        let replies = at_once(&world, circle.map(|(a, b)| merge(lead(a), lead(b))).into()).await;
        assert!(replies.iter().all(|(_, reply)| [201, 409].contains(&reply.status)), "{replies:?}");
        let live = "select count(*) from leads where deleted_at is null and dealership_id = '019a0000-0000-7000-8000-000000000001'";
        let merged = replies.iter().filter(|(_, reply)| reply.status == 201).count() as i64;
        assert_eq!(world.count(live).await, 10 - merged);
        assert!(merged < 5, "the last has nobody to be merged into");
        assert_nothing_is_lost(&world).await;
        // Undone in the reverse order, which the journal has.
        let owner = world.owner().await;
        let open = "select id from merges where undone_at is null order by created_at desc, id desc";
        let mut open: Vec<Uuid> =
            owner.query(open, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
        while !open.is_empty() {
            let mut left = Vec::new();
            for id in &open {
                if world.send(event("undo-merge").id(id).by(&kari())).await.status == 409 {
                    left.push(*id);
                }
            }
            assert!(left.len() < open.len(), "one of them can always be undone");
            open = left;
        }
        assert_eq!(world.count(live).await, 10);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_or_a_change_beside_a_merge_is_kept_or_refused_and_never_lost() {
    let world = world().await;
    for _ in 0..ROUNDS {
        let before = world.count("select count(*) from conversations").await;
        let mut events = Vec::new();
        for n in 0..CALLERS {
            for id in [lead(3), lead(4)] {
                let message = json!({"lead_id": id, "channel": "sms", "body": format!("Hei {n}")});
                events.push(event("create-conversation").without_header("idempotency-key").json(message));
                events.push(event("patch-lead").id(id).json(json!({"company": format!("{n} AS")})));
            }
            if n == CALLERS / 2 {
                events.push(merge(lead(4), lead(3)));
            }
        }
        let replies = at_once(&world, events).await;
        let mut merge_id = None;
        let mut written = 0;
        for (function, reply) in &replies {
            match (*function, reply.status) {
                ("merge-lead", 201) => merge_id = Some(reply.json["id"].as_str().unwrap().to_owned()),
                ("create-conversation", 201) => written += 1,
                ("patch-lead", 200 | 404 | 412) | ("create-conversation", 404) => {}
                _ => panic!("{function}: {} {}", reply.status, reply.json),
            }
        }
        assert_eq!(world.count("select count(*) from conversations").await, before + written);
        assert_nothing_is_lost(&world).await;
        world.send(event("undo-merge").id(merge_id.unwrap()).by(&kari())).await.expect(200);
        assert_nothing_is_lost(&world).await;
    }
}
