//! `POST /api/v1/leads/{id}/merge`.
mod at_once;
mod gate;
mod idempotency;

use dev::people::{KARI, NINA, OLA, TESLA_OSLO};
use insta::assert_json_snapshot;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::leads::merge;
use crate::support::{Event, Reply, World, event, id, kari, lead, nina, ola, per, time};

async fn get(world: &World, id: Uuid) -> Reply {
    world.send(event("get-lead").id(id).by(&kari())).await.expect(200)
}

async fn patch(world: &World, id: Uuid, body: Value) -> Reply {
    world.send(event("patch-lead").id(id).json(body).by(&kari())).await.expect(200)
}

#[tokio::test]
async fn the_survivor_has_the_messages_and_its_blanks_are_filled() {
    let world = World::seeded().await;
    let (before, other) = (get(&world, lead(4)).await, get(&world, lead(3)).await);
    let reply = world.send(event("merge-lead").by(&kari())).await.expect(201);
    assert_eq!(reply.header("location"), format!("/api/v1/leads/{}", lead(4)));
    let after = get(&world, lead(4)).await;
    assert_eq!((&reply.json["survivor"], reply.header("etag")), (&after.json, after.header("etag")));
    assert_ne!(after.header("etag"), before.header("etag"));

    let list = event("list-conversations").id(lead(4)).query("");
    assert_eq!(world.send(list.by(&kari())).await.expect(200).ids().len(), 7);
    for clock in ["first_human_response_at", "first_ai_response_at"] {
        let told = [&before.json[clock], &other.json[clock]].map(|at| at.as_str().map(str::to_owned));
        assert_eq!(
            after.json[clock].as_str().map(str::to_owned),
            told.into_iter().flatten().min(),
            "{clock}"
        );
    }
    assert_json_snapshot!(reply.json, {
        ".id" => id(),
        ".created_at" => time(),
        ".survivor.created_at" => time(),
        ".survivor.updated_at" => time(),
        ".survivor.first_human_response_at" => time(),
        ".survivor.first_ai_response_at" => time(),
        ".survivor.last_message.created_at" => time(),
    });
}

#[tokio::test]
async fn the_answer_tells_the_newest_message_also_when_it_moved() {
    let world = World::seeded().await;
    for (survivor, other) in [(10, 2), (5, 3)] {
        let other_has = get(&world, lead(other)).await.json["last_message"].clone();
        let merged = world.send(merge(lead(survivor), lead(other)).by(&kari())).await.expect(201);
        assert_eq!(merged.json["survivor"]["last_message"], other_has);
        assert_eq!(merged.json["survivor"], get(&world, lead(survivor)).await.json);
    }
}

#[tokio::test]
async fn nothing_is_overwritten() {
    let world = World::seeded().await;
    let full = json!({"first_name": "Kari", "last_name": "Vik", "email": "kari@post.example", "phone": "1234",
        "company": "Vik AS", "message": "Hei", "vehicle_id": null, "vehicle_of_interest": "Golf",
        "assigned_to": KARI.id, "attribution": {"gclid": "g"}, "consent": {"marketing": false}});
    patch(&world, lead(4), full).await;
    patch(
        &world,
        lead(3),
        json!({"company": "Annen AS", "consent": {"marketing": true, "text_version": "2"}}),
    )
    .await;
    let mut expected = get(&world, lead(4)).await.json;
    let merged = world.send(merge(lead(4), lead(3)).by(&kari())).await.expect(201);
    assert_eq!(merged.json["filled"], json!(["vehicle_id"]));
    let mut after = merged.json["survivor"].clone();
    let changed = [
        "vehicle_id",
        "conversation_count",
        "last_message",
        "first_human_response_at",
        "first_ai_response_at",
        "updated_at",
    ];
    for field in changed {
        expected[field] = Value::Null;
        after[field] = Value::Null;
    }
    // A number that was not understood is not blank: the other's E.164 form does not stand beside it.
    assert_eq!(after, expected);
    assert_eq!((&after["phone"], &after["phone_e164"]), (&json!("1234"), &Value::Null));
}

#[tokio::test]
async fn the_survivors_status_stays_whatever_the_other_was() {
    let world = World::seeded().await;
    for (n, other) in [(1, 7), (3, 9), (8, 2)] {
        let before = get(&world, lead(n)).await.json;
        let after =
            world.send(merge(lead(n), lead(other)).by(&kari())).await.expect(201).json["survivor"].clone();
        for field in ["status", "lost_reason", "source", "created_at"] {
            assert_eq!(after[field], before[field], "{field}");
        }
    }
}

#[tokio::test]
async fn an_unassigned_lead_gets_the_others_assignee_unless_they_have_left() {
    let world = World::seeded().await;
    let merged = world.send(merge(lead(1), lead(2)).by(&ola())).await.expect(201);
    assert_eq!(merged.json["survivor"]["assigned_to"], json!(NINA.id));
    world.send(event("get-lead").id(lead(1)).by(&nina())).await.expect(200);

    let leaves = "update memberships set removed_at = now() where user_id = $1";
    world.owner().await.execute(leaves, &[&OLA.id]).await.unwrap();
    let merged = world.send(merge(lead(10), lead(4)).by(&kari())).await.expect(201);
    assert_eq!(merged.json["survivor"]["assigned_to"], Value::Null);
}

#[tokio::test]
async fn a_merged_lead_is_out_of_every_list_and_points_to_its_survivor() {
    let world = World::seeded().await;
    world.send(merge(lead(4), lead(3)).by(&kari())).await.expect(201);
    let about = json!({"lead_id": lead(3), "channel": "email", "body": "Hei"});
    for event in [
        event("get-lead").id(lead(3)),
        event("patch-lead").id(lead(3)),
        event("delete-lead").id(lead(3)),
        event("list-conversations").id(lead(3)),
        event("list-duplicates").id(lead(3)),
        event("create-conversation").json(about),
    ] {
        let function = event.function;
        let reply = world.send(event.by(&kari())).await.expect(404);
        assert_eq!(reply.code(), "not_found", "{function}");
    }
    for query in ["", "q=ingrid", "assigned_to=me", "status=contacted"] {
        let list = world.send(event("list-leads").query(query).by(&nina())).await.expect(200);
        assert!(!list.ids().contains(&lead(3).to_string().as_str()), "{query}");
    }
    let row =
        world.row("select merged_into, deleted_at is not null from leads where id = $1", &[&lead(3)]).await;
    assert_eq!((row.get::<_, Uuid>(0), row.get::<_, bool>(1)), (lead(4), true));
}

#[tokio::test]
async fn the_address_of_a_merged_or_deleted_lead_can_be_used_again() {
    let world = World::seeded().await;
    world.send(merge(lead(4), lead(3)).by(&kari())).await.expect(201);
    world.send(event("delete-lead").id(lead(2)).by(&kari())).await.expect(204);
    for email in ["ingrid.odegard@post.example", "hakon.saether@post.example"] {
        let new = json!({"source": "email", "email": email, "phone": "400 00 103"});
        world
            .send(event("create-lead").without_header("idempotency-key").json(new).by(&kari()))
            .await
            .expect(201);
    }
}

#[tokio::test]
async fn what_is_not_yours_or_not_there_is_not_found() {
    let world = World::seeded().await;
    world.send(event("delete-lead").id(lead(5)).by(&kari())).await.expect(204);
    let unknown = world.send(merge(lead(4), Uuid::now_v7()).by(&kari())).await.expect(404);
    for (survivor, other, token) in [
        (Uuid::now_v7(), lead(3), kari()),
        (lead(4), lead(13), kari()),
        (lead(13), lead(4), kari()),
        (lead(4), lead(3), per()),
        (lead(5), lead(4), kari()),
        (lead(4), lead(5), kari()),
    ] {
        let reply = world.send(merge(survivor, other).by(&token)).await.expect(404);
        assert_eq!(reply.json, unknown.json);
    }
    assert_eq!(world.count("select count(*) from merges").await, 0);
    assert_eq!(world.count("select count(*) from leads where merged_into is not null").await, 0);
}

#[tokio::test]
async fn a_lead_is_merged_once_and_survives_only_while_it_is_there() {
    let world = World::seeded().await;
    world.send(merge(lead(4), lead(3)).by(&kari())).await.expect(201);
    for (survivor, other) in [(4, 3), (3, 4), (1, 3), (3, 1)] {
        let reply = world.send(merge(lead(survivor), lead(other)).by(&kari())).await.expect(409);
        assert_eq!(reply.code(), "lead_merged");
    }
    // The survivor may be merged in turn, and its messages with it.
    let again = world.send(merge(lead(1), lead(4)).by(&kari())).await.expect(201);
    assert_eq!(again.json["conversations_moved"], 7);
    assert_eq!(
        TESLA_OSLO.id,
        world.row("select dealership_id from merges limit 1", &[]).await.get::<_, Uuid>(0)
    );
}

#[tokio::test]
async fn only_who_edits_every_lead_merges() {
    let world = World::seeded().await;
    let reply = world.send(merge(lead(2), lead(3)).by(&nina())).await.expect(403);
    assert_eq!(reply.code(), "forbidden");
    world.send(merge(lead(2), lead(3)).by(&ola())).await.expect(201);
    let by: Uuid = world.row("select created_by from merges", &[]).await.get(0);
    assert_eq!(by, OLA.id);
}

#[tokio::test]
async fn every_invalid_field_is_told_at_once() {
    let world = World::seeded().await;
    let table: [(Event, &[&str]); 4] = [
        (event("merge-lead/into-itself"), &["lead_id"]),
        (event("merge-lead").json(json!({})), &["lead_id"]),
        (event("merge-lead").json(json!({"lead_id": 3, "status": "won"})), &["lead_id", "status"]),
        (event("merge-lead").json(json!({"lead_id": "3"})), &["lead_id"]),
    ];
    for (event, fields) in table {
        let reply = world.send(event.by(&kari())).await.expect(422);
        assert_eq!((reply.code(), reply.fields()), ("validation_failed", fields.to_vec()));
    }
    let reply = world.send(event("merge-lead").id("not-a-uuid").by(&kari())).await.expect(400);
    assert_eq!(reply.fields(), ["id"]);
}

#[tokio::test]
async fn if_match_holds_the_version_of_the_survivor() {
    let world = World::seeded().await;
    let etag = get(&world, lead(4)).await.header("etag").to_owned();
    patch(&world, lead(4), json!({"company": "Ny AS"})).await;
    for stale in [etag.as_str(), "\"stale\"", ""] {
        let reply =
            world.send(merge(lead(4), lead(3)).by(&kari()).header("if-match", stale)).await.expect(412);
        assert_eq!(reply.code(), "precondition_failed");
    }
    get(&world, lead(3)).await;
    let unknown = merge(Uuid::now_v7(), lead(3)).header("if-match", &etag);
    world.send(unknown.by(&kari())).await.expect(404);
    let etag = get(&world, lead(4)).await.header("etag").to_owned();
    world.send(merge(lead(4), lead(3)).by(&kari()).header("if-match", &etag)).await.expect(201);
    world.send(merge(lead(4), lead(2)).by(&kari()).header("if-match", "*")).await.expect(201);
}

#[tokio::test]
async fn the_journal_repeats_nothing_that_a_customer_said() {
    let world = World::seeded().await;
    world.send(merge(lead(4), lead(3)).by(&kari())).await.expect(201);
    let journal: String = world.row("select to_jsonb(j)::text from merges j", &[]).await.get(0);
    for said in ["ingrid", "Ødegård", "40000103", "prøvekjøring", "Cj0KCQiA", "Performance"] {
        assert!(!journal.to_lowercase().contains(&said.to_lowercase()), "{said}: {journal}");
    }
}
