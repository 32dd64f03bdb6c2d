//! `POST /api/v1/merges/{id}/undo`.
mod any_history;

use std::collections::BTreeMap;

use insta::assert_json_snapshot;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::leads::merge;
use crate::support::{Event, Reply, World, event, id, kari, lead, merge_id, nina, ola, per, time};

/// Every row of every table with a tenant, as text, but the journal's own.
async fn dump(world: &World) -> BTreeMap<String, Vec<String>> {
    let owner = world.owner().await;
    let tables = "select relname::text from pg_class t join pg_attribute a on a.attrelid = t.oid and attname = 'dealership_id'
                   where relkind = 'r' and relnamespace = 'public'::regnamespace and relname <> 'merges'";
    let mut dump: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for table in owner.query(tables, &[]).await.unwrap() {
        let table: String = table.get(0);
        let rows = format!("select row_to_json(t)::text from {table} t order by 1");
        let rows = owner.query(&rows, &[]).await.unwrap();
        dump.insert(table, rows.iter().map(|row| row.get(0)).collect());
    }
    assert!(dump["leads"].len() > 1 && dump.len() >= 6, "{:?}", dump.keys());
    dump
}

/// Merges as Kari and tells the merge's id.
async fn merged(world: &World, survivor: u16, other: u16) -> String {
    let reply = world.send(merge(lead(survivor), lead(other)).by(&kari())).await.expect(201);
    reply.json["id"].as_str().unwrap().to_owned()
}

fn undo(id: impl ToString) -> Event {
    event("undo-merge").id(id).by(&kari())
}

async fn get(world: &World, n: u16) -> Reply {
    world.send(event("get-lead").id(lead(n)).by(&kari())).await.expect(200)
}

async fn patch(world: &World, n: u16, body: Value) -> Reply {
    world.send(event("patch-lead").id(lead(n)).json(body).by(&kari())).await.expect(200)
}

async fn write(world: &World, n: u16, body: Value) -> Value {
    let mut message = json!({"lead_id": lead(n), "channel": "email", "body": "Hei"});
    message.as_object_mut().unwrap().append(&mut body.as_object().unwrap().clone());
    let new = event("create-conversation").without_header("idempotency-key").json(message);
    world.send(new.by(&kari())).await.expect(201).json
}

async fn messages(world: &World, n: u16) -> Vec<String> {
    let list = world.send(event("list-conversations").query("").id(lead(n)).by(&kari())).await.expect(200);
    list.ids().into_iter().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_merge_and_its_undo_leave_every_byte_as_it_was() {
    let world = World::seeded().await;
    let before = dump(&world).await;
    let etag = get(&world, 4).await.header("etag").to_owned();
    // One that fills much and moves much, one that fills nothing, one without messages, one into a lead that is won.
    for (survivor, other) in [(4, 3), (3, 4), (1, 10), (7, 2), (9, 10)] {
        let id = merged(&world, survivor, other).await;
        assert_ne!(dump(&world).await, before);
        let reply = world.send(undo(&id)).await.expect(200);
        assert_eq!(reply.json["lead_id"], json!(lead(other)));
        assert_eq!(dump(&world).await, before, "{survivor} {other}");
    }
    assert_eq!(get(&world, 4).await.header("etag"), etag);
}

#[tokio::test]
async fn an_undo_tells_what_it_did() {
    let world = World::seeded().await;
    let id_of_merge = merged(&world, 4, 3).await;
    let reply = world.send(undo(&id_of_merge).by(&ola())).await.expect(200);
    assert_json_snapshot!(reply.json, { ".id" => id(), ".undone_at" => time() });
    let by: Uuid = world.row("select undone_by from merges", &[]).await.get(0);
    assert_eq!(by, dev::people::OLA.id);
}

#[tokio::test]
async fn the_event_is_undone() {
    let world = World::seeded().await;
    world.merge_as(merge_id(1), lead(4), lead(3)).await;
    world.send(event("undo-merge").by(&kari())).await.expect(200);
    get(&world, 3).await;
}

#[tokio::test]
async fn messages_that_moved_go_back_and_those_that_arrived_since_stay() {
    let world = World::seeded().await;
    let (of_3, mut of_4, before_4) =
        (messages(&world, 3).await, messages(&world, 4).await, get(&world, 4).await.json);
    let id = merged(&world, 4, 3).await;
    let new = write(&world, 4, json!({"direction": "inbound"})).await;
    of_4.push(new["id"].as_str().unwrap().to_owned());
    world.send(undo(&id)).await.expect(200);
    assert_eq!((messages(&world, 3).await, messages(&world, 4).await), (of_3, of_4));

    let (three, four) = (get(&world, 3).await.json, get(&world, 4).await.json);
    assert_eq!((&three["conversation_count"], &four["conversation_count"]), (&json!(4), &json!(4)));
    assert_eq!(four["last_message"]["id"], new["id"]);
    for clock in ["first_human_response_at", "first_ai_response_at"] {
        assert_eq!(four[clock], before_4[clock], "{clock}: the customer has answered nobody");
    }
}

#[tokio::test]
async fn a_response_since_the_merge_counts_where_it_stays() {
    let world = World::seeded().await;
    // The AI of lead 3 answered, nobody did on lead 1.
    let id = merged(&world, 1, 3).await;
    assert_ne!(get(&world, 1).await.json["first_human_response_at"], Value::Null);
    write(&world, 1, json!({"channel": "note"})).await;
    write(&world, 1, json!({"auto_reply": true})).await;
    let human = write(&world, 1, json!({})).await;
    let before_3 = world
        .row("select to_jsonb(l)->>'first_human_response_at' from leads l where id = $1", &[&lead(3)])
        .await;
    world.send(undo(&id)).await.expect(200);
    let one = get(&world, 1).await.json;
    assert_eq!(one["first_human_response_at"], human["created_at"]);
    let after_3 = world
        .row("select to_jsonb(l)->>'first_human_response_at' from leads l where id = $1", &[&lead(3)])
        .await;
    assert_eq!(before_3.get::<_, String>(0), after_3.get::<_, String>(0));
}

#[tokio::test]
async fn a_field_that_was_filled_is_blank_again_unless_somebody_wrote_it_since() {
    let world = World::seeded().await;
    let before_3 = get(&world, 3).await;
    let id = merged(&world, 4, 3).await;
    patch(&world, 4, json!({"email": "ny@post.example", "last_name": "Ålesund-Vik", "message": null})).await;
    let version = get(&world, 4).await.header("etag").to_owned();
    let reply = world.send(undo(&id)).await.expect(200);
    assert_eq!(reply.json["cleared"], json!(["vehicle_id", "attribution"]));
    let four = get(&world, 4).await;
    assert_ne!(four.header("etag"), version, "it has changed once more");
    for (field, value) in [
        ("email", json!("ny@post.example")),
        ("last_name", json!("Ålesund-Vik")),
        ("message", Value::Null),
        ("vehicle_id", Value::Null),
        ("attribution", json!({})),
        ("vehicle_of_interest", json!("Tesla Model X")),
    ] {
        assert_eq!(four.json[field], value, "{field}");
    }
    let three = get(&world, 3).await;
    assert_eq!((&three.json, three.header("etag")), (&before_3.json, before_3.header("etag")));
}

#[tokio::test]
async fn a_number_goes_with_what_it_was_understood_to_be() {
    let world = World::seeded().await;
    patch(&world, 1, json!({"phone": null})).await;
    let id = merged(&world, 1, 2).await;
    patch(&world, 1, json!({"company": "Ny AS"})).await;
    let one = get(&world, 1).await.json;
    assert_eq!((&one["phone"], &one["phone_e164"]), (&json!("400 00 102"), &json!("+4740000102")));
    world.send(undo(&id)).await.expect(200);
    let one = get(&world, 1).await.json;
    assert_eq!((&one["phone"], &one["phone_e164"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn a_lead_whose_own_name_was_removed_since_keeps_what_the_merge_gave_it() {
    let world = World::seeded().await;
    let own =
        json!({"first_name": null, "last_name": null, "email": null, "company": "Ny AS", "phone": null});
    patch(&world, 10, own).await;
    let id = merged(&world, 10, 2).await;
    patch(&world, 10, json!({"company": null, "last_name": null})).await;
    let reply = world.send(undo(&id)).await.expect(200);
    assert_eq!(reply.json["cleared"], json!(["assigned_to", "attribution"]));
    let lead = get(&world, 10).await.json;
    assert_eq!(
        (&lead["first_name"], &lead["email"]),
        (&json!("Håkon"), &json!("hakon.saether@post.example"))
    );
}

#[tokio::test]
async fn merges_of_merges_are_undone_in_the_reverse_order() {
    let world = World::seeded().await;
    let before = dump(&world).await;
    let first = merged(&world, 4, 3).await;
    let second = merged(&world, 1, 4).await;
    let third = merged(&world, 1, 2).await;
    let refused = world.send(undo(&first)).await.expect(409);
    assert_eq!(refused.code(), "survivor_gone");
    for id in [third, second, first] {
        world.send(undo(id)).await.expect(200);
    }
    assert_eq!(dump(&world).await, before);
}

#[tokio::test]
async fn merges_into_one_lead_can_be_undone_in_any_order() {
    let world = World::seeded().await;
    let contents = async || [get(&world, 1).await.json, get(&world, 2).await.json, get(&world, 4).await.json];
    let mut before = contents().await;
    let (first, second) = (merged(&world, 1, 4).await, merged(&world, 1, 2).await);
    world.send(undo(&first)).await.expect(200);
    assert_eq!(get(&world, 1).await.json["conversation_count"], 4, "two of its own and two of lead 2");
    world.send(undo(&second)).await.expect(200);
    let mut after = contents().await;
    for lead in before.iter_mut().chain(&mut after) {
        lead["updated_at"] = Value::Null;
    }
    assert_eq!(after, before);
}

#[tokio::test]
async fn a_merge_is_undone_once() {
    let world = World::seeded().await;
    let id = merged(&world, 4, 3).await;
    world.send(undo(&id)).await.expect(200);
    let after = dump(&world).await;
    let refused = world.send(undo(&id)).await.expect(409);
    assert_eq!(refused.code(), "merge_undone");
    assert_eq!(dump(&world).await, after);
    // And the two can be merged again, and that undone.
    let again = merged(&world, 4, 3).await;
    world.send(undo(&id)).await.expect(409);
    world.send(undo(&again)).await.expect(200);
    assert_eq!(dump(&world).await, after);
}

#[tokio::test]
async fn a_merge_whose_survivor_is_deleted_stays() {
    let world = World::seeded().await;
    let id = merged(&world, 4, 3).await;
    world.send(event("delete-lead").id(lead(4)).by(&kari())).await.expect(204);
    let refused = world.send(undo(&id)).await.expect(409);
    assert_eq!(refused.code(), "survivor_gone");
    world.send(event("get-lead").id(lead(3)).by(&kari())).await.expect(404);
}

#[tokio::test]
async fn what_is_not_yours_or_not_there_is_not_found() {
    let world = World::seeded().await;
    let id = merged(&world, 4, 3).await;
    let unknown = world.send(undo(Uuid::now_v7())).await.expect(404);
    let reply = world.send(undo(&id).by(&per())).await.expect(404);
    assert_eq!(reply.json, unknown.json);
    world.send(undo(lead(4))).await.expect(404);
    world.send(undo(&id).by(&nina())).await.expect(403);
    let reply = world.send(undo("not-a-uuid")).await.expect(400);
    assert_eq!(reply.fields(), ["id"]);
    world.send(undo(&id)).await.expect(200);
}
