//! The status and its lost reason.
use dev::people::TESLA_OSLO;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{get, patch};
use crate::support::{Reply, World, event, kari, lead};

const STATUSES: [&str; 5] = ["new", "contacted", "qualified", "won", "lost"];

/// What each status can become. Every pair that is not here is refused, but for staying the same.
const TRANSITIONS: [(&str, &[&str]); 5] = [
    ("new", &["contacted", "qualified", "lost"]),
    ("contacted", &["qualified", "won", "lost"]),
    ("qualified", &["contacted", "won", "lost"]),
    ("won", &[]),
    ("lost", &["contacted"]),
];

/// A fresh lead of this status.
async fn lead_that_is(world: &World, status: &str) -> Uuid {
    let sql = "insert into leads (dealership_id, source, first_name, status, lost_reason)
               values ($1, 'api', 'Kari', $2, case when $2 = 'lost' then 'For dyrt' end) returning id";
    world.row(sql, &[&TESLA_OSLO.id, &status]).await.get(0)
}

async fn change(world: &World, lead: Uuid, body: Value) -> Reply {
    world.send(event("patch-lead").id(lead).json(body).by(&kari())).await
}

#[tokio::test]
async fn a_status_becomes_what_the_table_says_and_nothing_else() {
    let world = World::seeded().await;
    for (from, allowed) in TRANSITIONS {
        for to in STATUSES {
            let lead = lead_that_is(&world, from).await;
            let body = match to {
                "lost" => json!({"status": to, "lost_reason": "Ombestemte seg"}),
                _ => json!({"status": to}),
            };
            let reply = change(&world, lead, body).await;
            let now = world.row("select status from leads where id = $1", &[&lead]).await;
            if allowed.contains(&to) || from == to {
                assert_eq!(reply.expect(200).json["status"], to, "{from} -> {to}");
                assert_eq!(now.get::<_, &str>(0), to);
            } else {
                assert_eq!(reply.expect(409).code(), "illegal_transition", "{from} -> {to}");
                assert_eq!(now.get::<_, &str>(0), from);
            }
        }
    }
}

#[tokio::test]
async fn a_lead_is_lost_for_a_reason() {
    let world = World::seeded().await;
    let without =
        world.send(event("patch-lead/lose-without-reason").id(lead(1)).by(&kari())).await.expect(422);
    assert_eq!((without.code(), without.fields()), ("validation_failed", vec!["lost_reason"]));
    assert_eq!(get(&world, 1).await.json["status"], "new");

    let lost = world.send(event("patch-lead/lose").id(lead(1)).by(&kari())).await.expect(200);
    assert_eq!(lost.json["status"], "lost");
    assert_eq!(lost.json["lost_reason"], "Bought from another dealership");
    let reworded = world.send(patch(1, json!({"lost_reason": "For dyrt"})).by(&kari())).await.expect(200);
    assert_eq!(reworded.json["lost_reason"], "For dyrt");
    let cleared = world.send(patch(1, json!({"lost_reason": null})).by(&kari())).await.expect(422);
    assert_eq!(cleared.fields(), ["lost_reason"]);
}

#[tokio::test]
async fn only_a_lost_lead_has_a_reason() {
    let world = World::seeded().await;
    for body in
        [json!({"lost_reason": "For dyrt"}), json!({"status": "contacted", "lost_reason": "For dyrt"})]
    {
        let reply = world.send(patch(1, body).by(&kari())).await.expect(422);
        assert_eq!(reply.fields(), ["lost_reason"]);
    }
    // A lead that comes back leaves its reason behind.
    let back = world.send(patch(9, json!({"status": "contacted"})).by(&kari())).await.expect(200);
    assert_eq!((&back.json["status"], &back.json["lost_reason"]), (&json!("contacted"), &Value::Null));
    let kept = world.send(patch(10, json!({"status": "contacted", "lost_reason": "x"})).by(&kari())).await;
    assert_eq!(kept.expect(422).fields(), ["lost_reason"]);
}
