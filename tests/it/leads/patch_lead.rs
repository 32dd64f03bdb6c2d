//! `PATCH /api/v1/leads/{id}`.
mod if_match;
mod merge;
mod status;

use dev::people::{KARI, NINA, OLA, PER};
use insta::assert_json_snapshot;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Event, Reply, World, event, kari, lead, nina, ola, per, time, vehicle};

/// A patch of one of the seed's leads, under no condition.
fn patch(n: u16, body: Value) -> Event {
    event("patch-lead").id(lead(n)).json(body)
}

async fn get(world: &World, n: u16) -> Reply {
    world.send(event("get-lead").id(lead(n)).by(&kari())).await.expect(200)
}

#[tokio::test]
async fn a_patched_lead_is_answered_as_it_is_now() {
    let world = World::seeded().await;
    let before = get(&world, 1).await;
    let reply = world.send(event("patch-lead").id(lead(1)).by(&kari())).await.expect(200);
    assert_ne!(reply.header("etag"), before.header("etag"));
    let after = get(&world, 1).await;
    assert_eq!((&reply.json, reply.header("etag")), (&after.json, after.header("etag")));
    assert_json_snapshot!(reply.json, {
        ".created_at" => time(),
        ".updated_at" => time(),
        ".first_ai_response_at" => time(),
        ".last_message.created_at" => time(),
    });
}

#[tokio::test]
async fn every_invalid_field_is_told_at_once_and_changes_nothing() {
    let world = World::seeded().await;
    let before = get(&world, 5).await;
    let bad_email = world.send(event("patch-lead/bad-email").id(lead(5)).by(&kari())).await.expect(422);
    assert_eq!(bad_email.fields(), ["email"]);

    let table: [(Value, &[&str]); 8] = [
        (json!({"source": null, "status": null, "email": "kari@"}), &["email", "source", "status"]),
        (json!({"source": "fax", "status": "open", "colour": "red"}), &["colour", "source", "status"]),
        (json!({"company": "", "first_name": 7, "phone": "ring me"}), &["company", "first_name", "phone"]),
        (json!({"company": "Ny AS", "vehicle_id": vehicle(5)}), &["vehicle_id"]),
        (json!({"company": "Ny AS", "assigned_to": PER.id}), &["assigned_to"]),
        (
            json!({"attribution": {"xyz": "1", "gclid": ""}, "consent": {"marketing": 1}}),
            &["attribution.gclid", "attribution.xyz", "consent.marketing"],
        ),
        (
            json!({"id": lead(1), "dealership_id": lead(1), "phone_e164": null, "version": 1, "deleted_at": null,
                   "first_human_response_at": null, "conversation_count": 0}),
            &[
                "conversation_count",
                "dealership_id",
                "deleted_at",
                "first_human_response_at",
                "id",
                "phone_e164",
                "version",
            ],
        ),
        (
            json!({"first_name": null, "last_name": null, "email": null, "phone": null, "company": null}),
            &["email"],
        ),
    ];
    for (body, fields) in table {
        let reply = world.send(patch(5, body.clone()).by(&kari())).await.expect(422);
        assert_eq!((reply.code(), reply.fields()), ("validation_failed", fields.to_vec()), "{body}");
    }
    let after = get(&world, 5).await;
    assert_eq!((&after.json, after.header("etag")), (&before.json, before.header("etag")));
}

#[tokio::test]
async fn a_body_that_cannot_be_read_is_refused() {
    let world = World::seeded().await;
    for (event, status) in [
        (event("patch-lead").body("{"), 400),
        (patch(1, json!({"company": "Ny\0 AS"})), 400),
        (event("patch-lead").header("content-type", "text/plain"), 415),
        (patch(1, json!({"message": "a".repeat(70_000)})), 413),
        (patch(1, json!([])), 422),
        (event("patch-lead").id("not-a-uuid"), 400),
    ] {
        world.send(event.by(&kari())).await.expect(status);
    }
    let plain_json = patch(1, json!({"company": "Ny AS"})).header("content-type", "application/json");
    world.send(plain_json.by(&kari())).await.expect(200);
}

#[tokio::test]
async fn what_is_not_yours_or_not_there_is_not_found() {
    let world = World::seeded().await;
    let unknown = world.send(event("patch-lead").id(Uuid::now_v7()).by(&kari())).await.expect(404);
    for (n, token) in [(13, kari()), (1, per()), (4, nina()), (1, nina())] {
        let reply = world.send(patch(n, json!({"company": "Ny AS"})).by(&token)).await.expect(404);
        assert_eq!(reply.json, unknown.json, "{n}");
    }
    assert_eq!(world.count("select count(*) from leads where company = 'Ny AS'").await, 0);
}

#[tokio::test]
async fn a_sales_rep_changes_their_own_lead_and_gives_it_to_nobody() {
    let world = World::seeded().await;
    let changed = world.send(patch(2, json!({"company": "Ny AS"})).by(&nina())).await.expect(200);
    assert_eq!(changed.json["company"], "Ny AS");
    world.send(patch(2, json!({"assigned_to": NINA.id})).by(&nina())).await.expect(200);

    for somebody_else in [json!(OLA.id), json!(null)] {
        let body = json!({"assigned_to": somebody_else, "company": "Annen AS"});
        let reply = world.send(patch(2, body).by(&nina())).await.expect(403);
        assert_eq!(reply.code(), "forbidden");
    }
    let after = get(&world, 2).await;
    assert_eq!((&after.json["assigned_to"], &after.json["company"]), (&json!(NINA.id), &json!("Ny AS")));
}

#[tokio::test]
async fn a_manager_gives_leads_to_members_of_the_dealership() {
    let world = World::seeded().await;
    for assignee in [json!(KARI.id), json!(NINA.id), json!(null)] {
        let reply = world.send(patch(4, json!({"assigned_to": assignee})).by(&ola())).await.expect(200);
        assert_eq!(reply.json["assigned_to"], assignee);
    }
    world.send(patch(4, json!({"assigned_to": NINA.id})).by(&ola())).await.expect(200);
    world.send(event("get-lead").id(lead(4)).by(&nina())).await.expect(200);
}

#[tokio::test]
async fn a_lead_is_not_given_to_somebody_who_has_left_and_stays_changeable_when_they_leave() {
    let world = World::seeded().await;
    world.send(patch(4, json!({"assigned_to": NINA.id})).by(&kari())).await.expect(200);
    let leaves = "update memberships set removed_at = now() where user_id = $1";
    world.owner().await.execute(leaves, &[&NINA.id]).await.unwrap();
    world.send(patch(4, json!({"company": "Ny AS"})).by(&kari())).await.expect(200);

    let refused = world.send(patch(1, json!({"assigned_to": NINA.id})).by(&kari())).await.expect(422);
    assert_eq!(refused.fields(), ["assigned_to"]);
    let new = json!({"source": "manual", "first_name": "Kari", "assigned_to": NINA.id});
    let refused =
        world.send(event("create-lead").json(new).without_header("idempotency-key").by(&kari())).await;
    assert_eq!(refused.expect(422).fields(), ["assigned_to"]);
}
