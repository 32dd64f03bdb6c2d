//! `POST /api/v1/submissions/{id}/release`.
use dev::people::{KARI, TESLA_OSLO};
use serde_json::json;
use uuid::Uuid;

use crate::support::{Reply, World, event, kari, nina, per, submission};

async fn release(world: &World, token: &str, id: Uuid) -> Reply {
    world.send(event("release-submission").id(id).by(token)).await
}

#[tokio::test]
async fn what_is_released_is_a_lead_and_says_who_released_it() {
    let world = World::seeded().await;
    for n in [1, 2] {
        let released = release(&world, &kari(), submission(n)).await.expect(200);
        assert_eq!(released.json["verdict"], "accepted");
        assert_eq!(released.json["reviewed_by"], json!(KARI.id));
        assert_eq!(released.json["made_lead"], json!(true));
        let lead: Uuid = released.json["lead_id"].as_str().unwrap().parse().unwrap();
        let lead = world.send(event("get-lead").id(lead).by(&kari())).await.expect(200);
        assert_eq!(lead.json["email"], released.json["enquiry"]["email"]);
        assert_eq!(lead.json["source"], "website");

        let again = release(&world, &kari(), submission(n)).await.expect(200);
        assert_eq!(again.json, released.json, "twice is once");
    }
}

#[tokio::test]
async fn it_is_read_as_the_mapping_is_now() {
    let world = World::seeded().await;
    let body = json!({ "felt_1": "sigrid@post.example" }).to_string();
    let sent = event("form-webhook")
        .without_header("idempotency-key")
        .path("dealership_id", TESLA_OSLO.id)
        .body(&body);
    let id: Uuid = world.send(sent).await.expect(202).json["receipt_id"].as_str().unwrap().parse().unwrap();
    let verdict = "select verdict || ' ' || reasons[1] from submissions where id = $1";
    assert_eq!(world.row(verdict, &[&id]).await.get::<_, &str>(0), "held no_contact");

    let mapping = "insert into form_mappings (dealership_id, version, fields) values ($1, 1, '{\"felt_1\": \"email\"}')";
    world.owner().await.execute(mapping, &[&TESLA_OSLO.id]).await.unwrap();
    let released = release(&world, &kari(), id).await.expect(200);
    assert_eq!(
        (&released.json["enquiry"]["email"], &released.json["mapping_version"]),
        (&json!("sigrid@post.example"), &json!(1))
    );
}

#[tokio::test]
async fn a_name_is_enough_for_a_person_to_release_it_and_nothing_at_all_is_not() {
    let world = World::seeded().await;
    let released = release(&world, &per(), submission(3)).await.expect(200);
    let lead: Uuid = released.json["lead_id"].as_str().unwrap().parse().unwrap();
    let lead = world.send(event("get-lead").id(lead).by(&per())).await.expect(200);
    assert_eq!(lead.json["first_name"], "Jon");

    let nothing = "update submissions set body = '{\"melding\": \"Hei\"}' where id = $1";
    world.owner().await.execute(nothing, &[&submission(1)]).await.unwrap();
    let refused = release(&world, &kari(), submission(1)).await.expect(422);
    assert_eq!(refused.fields(), ["email"]);
    let still = "select verdict from submissions where id = $1";
    assert_eq!(world.row(still, &[&submission(1)]).await.get::<_, &str>(0), "held");
}

#[tokio::test]
async fn it_is_added_to_the_customers_open_lead() {
    let world = World::seeded().await;
    let made = "insert into leads (dealership_id, source, email) values ($1, 'phone', 'sigrid.moe@post.example') returning id";
    let open: Uuid = world.row(made, &[&TESLA_OSLO.id]).await.get(0);
    let released = release(&world, &kari(), submission(1)).await.expect(200);
    assert_eq!((&released.json["lead_id"], &released.json["made_lead"]), (&json!(open), &json!(false)));
}

#[tokio::test]
async fn another_dealerships_is_not_there() {
    let world = World::seeded().await;
    release(&world, &kari(), submission(3)).await.expect(404);
    release(&world, &kari(), Uuid::from_u128(7)).await.expect(404);
    release(&world, &nina(), submission(1)).await.expect(403);
    assert_eq!(world.count("select count(*) from submissions where filed_at is not null").await, 0);
}
