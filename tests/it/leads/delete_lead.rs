//! `DELETE /api/v1/leads/{id}`.
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Event, World, event, kari, lead, nina, ola, per};

/// Whether the row is there and not marked as deleted.
async fn is_live(world: &World, id: Uuid) -> bool {
    world.row("select deleted_at is null from leads where id = $1", &[&id]).await.get(0)
}

fn delete(n: u16) -> Event {
    event("delete-lead").id(lead(n))
}

#[tokio::test]
async fn a_deleted_lead_is_gone_from_every_route() {
    let world = World::seeded().await;
    let reply = world.send(delete(3).by(&kari())).await.expect(204);
    assert_eq!(reply.json, Value::Null, "no body");

    let about = json!({"lead_id": lead(3), "channel": "email", "body": "Hei"});
    for event in [
        event("get-lead").id(lead(3)),
        event("patch-lead").id(lead(3)),
        delete(3),
        event("list-conversations").id(lead(3)),
        event("create-conversation").json(about),
    ] {
        let function = event.function;
        let reply = world.send(event.by(&kari())).await.expect(404);
        assert_eq!(reply.code(), "not_found", "{function}");
    }
    let list = world.send(event("list-leads").by(&kari())).await.expect(200);
    assert_eq!(list.ids().len(), 9);
    assert!(!list.ids().contains(&lead(3).to_string().as_str()));
}

#[tokio::test]
async fn the_row_and_its_messages_stay() {
    let world = World::seeded().await;
    world.send(delete(3).by(&kari())).await.expect(204);
    let sql = "select deleted_at, email, (select count(*) from conversations c where c.lead_id = l.id)
                 from leads l where id = $1";
    let row = world.row(sql, &[&lead(3)]).await;
    let deleted_at: Timestamp = row.get(0);
    assert!(Timestamp::now().duration_since(deleted_at).as_secs() < 60);
    assert_eq!(row.get::<_, &str>(1), "ingrid.odegard@post.example");
    assert_eq!(row.get::<_, i64>(2), 4);
    assert_eq!(world.count("select count(*) from leads where deleted_at is not null").await, 1);
}

#[tokio::test]
async fn if_match_lets_only_its_version_go() {
    let world = World::seeded().await;
    let etag = world.send(event("get-lead").id(lead(3)).by(&kari())).await.header("etag").to_owned();
    world
        .send(event("patch-lead").id(lead(3)).by(&kari()).json(json!({"company": "Ny AS"})))
        .await
        .expect(200);

    let stale = world.send(delete(3).by(&kari()).header("if-match", &etag)).await.expect(412);
    assert_eq!(stale.code(), "precondition_failed");
    assert!(is_live(&world, lead(3)).await);
    world
        .send(event("delete-lead").id(Uuid::now_v7()).by(&kari()).header("if-match", &etag))
        .await
        .expect(404);

    let etag = world.send(event("get-lead").id(lead(3)).by(&kari())).await.header("etag").to_owned();
    world.send(delete(3).by(&kari()).header("if-match", &etag)).await.expect(204);
    assert!(!is_live(&world, lead(3)).await);
    world.send(delete(2).by(&kari()).header("if-match", "*")).await.expect(204);
}

#[tokio::test]
async fn only_an_admin_deletes() {
    let world = World::seeded().await;
    for token in [ola(), nina()] {
        let reply = world.send(delete(2).by(&token)).await.expect(403);
        assert_eq!(reply.code(), "forbidden");
    }
    assert!(is_live(&world, lead(2)).await);
}

#[tokio::test]
async fn what_is_not_yours_or_not_there_is_not_found() {
    let world = World::seeded().await;
    let unknown = world.send(event("delete-lead").id(Uuid::now_v7()).by(&kari())).await.expect(404);
    for (n, token) in [(13, kari()), (3, per())] {
        let reply = world.send(delete(n).by(&token)).await.expect(404);
        assert_eq!(reply.json, unknown.json);
        assert!(is_live(&world, lead(n)).await);
    }
    let reply = world.send(event("delete-lead").id("not-a-uuid").by(&kari())).await.expect(400);
    assert_eq!(reply.fields(), ["id"]);
}
