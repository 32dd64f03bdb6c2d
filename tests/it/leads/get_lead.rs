//! `GET /api/v1/leads/{id}`.
use dev::people::{NINA, TESLA_OSLO};
use insta::assert_json_snapshot;
use uuid::Uuid;

use crate::support::{World, event, kari, lead, nina, ola, per, time, token};

#[tokio::test]
async fn a_lead_has_all_its_fields_and_its_version_as_etag() {
    let world = World::seeded().await;
    let reply = world.send(event("get-lead").id(lead(3)).by(&kari())).await.expect(200);
    let version: i32 = world.row("select version from leads where id = $1", &[&lead(3)]).await.get(0);
    assert_eq!(reply.header("etag"), format!("\"{version}\""));
    assert_eq!(reply.header("content-type"), "application/json");
    assert_eq!(reply.header("cache-control"), "no-store");
    assert_json_snapshot!(reply.json, {
        ".created_at" => time(),
        ".updated_at" => time(),
        ".first_human_response_at" => time(),
        ".first_ai_response_at" => time(),
        ".last_message.created_at" => time(),
    });
}

#[tokio::test]
async fn the_answer_is_the_same_for_what_is_not_yours_not_there_and_deleted() {
    let world = World::seeded().await;
    world.send(event("delete-lead").id(lead(3)).by(&kari())).await.expect(204);
    let unknown = world.send(event("get-lead").id(Uuid::now_v7()).by(&kari())).await.expect(404);
    assert_eq!(unknown.code(), "not_found");

    let others = [
        ("another dealership's", lead(13), kari()),
        ("another dealership's, the other way", lead(1), per()),
        ("a colleague's, for a sales rep", lead(4), nina()),
        ("nobody's, for a sales rep", lead(1), nina()),
        ("deleted", lead(3), kari()),
        ("deleted, for its sales rep", lead(3), nina()),
    ];
    for (what, id, token) in others {
        let reply = world.send(event("get-lead").id(id).by(&token)).await.expect(404);
        assert_eq!(reply.json, unknown.json, "{what}");
        assert_eq!(reply.header("etag"), "", "{what}");
    }
}

#[tokio::test]
async fn a_manager_sees_every_lead_and_a_sales_rep_their_own() {
    let world = World::seeded().await;
    for n in [1, 2, 4] {
        world.send(event("get-lead").id(lead(n)).by(&ola())).await.expect(200);
    }
    world.send(event("get-lead").id(lead(2)).by(&nina())).await.expect(200);
}

#[tokio::test]
async fn a_sales_reps_token_that_claims_more_sees_no_more() {
    let world = World::seeded().await;
    // The database knows a lower role, set later than the token was issued.
    let owner = world.owner().await;
    let later = "update memberships set role_at = now() + interval '1 minute' where user_id = $1";
    owner.execute(later, &[&NINA.id]).await.unwrap();
    let claims_admin = token(&TESLA_OSLO, &NINA, "admin");
    world.send(event("get-lead").id(lead(2)).by(&claims_admin)).await.expect(401);
}

#[tokio::test]
async fn an_id_is_a_hyphenated_uuid() {
    let world = World::seeded().await;
    let mut refused = vec![event("get-lead/not-a-uuid")];
    let simple = lead(3).simple().to_string();
    for id in [simple.as_str(), &format!("{{{}}}", lead(3)), "1", " ", "", "' or true --"] {
        refused.push(event("get-lead").id(id));
    }
    for event in refused {
        let reply = world.send(event.by(&kari())).await.expect(400);
        assert_eq!((reply.code(), reply.fields()), ("invalid_parameters", vec!["id"]));
    }
    world.send(event("get-lead").id(lead(3).to_string().to_uppercase()).by(&kari())).await.expect(200);
}
