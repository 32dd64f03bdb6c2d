//! Clerk's messages about people: their names and addresses, and their deletion.
use dev::people::{KARI, NINA, Person, TESLA_OSLO};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{CREATED, deliver, list_leads, membership, sample, state};
use crate::support::{Event, World, event, kari, lead, nina};

fn deleted(person: &Person) -> Event {
    sample("clerk-webhook/user.deleted", |body| {
        body["timestamp"] = json!(Timestamp::now().as_millisecond());
        body["data"]["id"] = json!(person.clerk_user_id);
    })
}

fn renamed(person: &Person, first_name: &str) -> Event {
    sample("clerk-webhook/user.updated", |body| {
        body["timestamp"] = json!(Timestamp::now().as_millisecond());
        body["data"]["id"] = json!(person.clerk_user_id);
        body["data"]["first_name"] = json!(first_name);
    })
}

/// The author of Nina's message, as Kari sees it.
async fn author(world: &World) -> Value {
    let list = world.send(event("list-conversations").id(lead(3)).by(&kari())).await.expect(200);
    list.json["items"][2]["author"].clone()
}

#[tokio::test]
async fn the_primary_address_is_the_one_that_the_person_named() {
    let address = |id: &str| json!({ "id": id, "email_address": format!("{id}@example.com") });
    for (primary, addresses, email) in [
        (json!("idn_2"), json!([address("idn_1"), address("idn_2")]), Some("idn_2@example.com")),
        (json!("idn_3"), json!([address("idn_1")]), None),
        (json!(null), json!([address("idn_1")]), None),
        (json!(null), json!([{ "id": null, "email_address": "a@example.com" }]), None),
        (json!(null), json!(null), None),
    ] {
        let world = World::empty().await;
        deliver(
            &world,
            [sample("clerk-webhook/user.created", |body| {
                body["data"]["primary_email_address_id"] = primary;
                body["data"]["email_addresses"] = addresses;
            })],
        )
        .await;
        assert_eq!(world.row("select email from users", &[]).await.get::<_, Option<&str>>(0), email);
    }
}

#[tokio::test]
async fn a_membership_names_only_a_person_without_an_event_of_their_own() {
    let world = World::seeded().await;
    let joined = |name: Value, ms: i64| {
        let at = Timestamp::now() + jiff::SignedDuration::from_millis(ms);
        let event = membership(CREATED, "orgmem_tesla_oslo_nina", &TESLA_OSLO, &NINA, "org:member", at);
        let mut body: Value = serde_json::from_str(event.text()).unwrap();
        body["data"]["public_user_data"]["first_name"] = name;
        body["data"]["public_user_data"]["last_name"] = json!(null);
        event.json(body)
    };
    deliver(&world, [joined(json!("Newer"), 20), joined(json!("Older"), 10), joined(json!(null), 25)]).await;
    assert_eq!(author(&world).await["name"], "Newer");
    deliver(&world, [renamed(&NINA, "Own"), joined(json!("Newest"), 30)]).await;
    assert_eq!(author(&world).await["name"], "Own");
    let email = world.row("select email from users where id = $1", &[&NINA.id]).await;
    assert_eq!(email.get::<_, &str>(0), "example@example.org");
}

#[tokio::test]
async fn a_person_who_has_left_a_dealership_is_still_named_there() {
    let world = World::seeded().await;
    assert_eq!(author(&world).await, json!({ "id": NINA.id, "name": "Nina Lie", "removed": false }));
    let left = membership(
        super::DELETED,
        "orgmem_tesla_oslo_nina",
        &TESLA_OSLO,
        &NINA,
        "org:member",
        Timestamp::now(),
    );
    deliver(&world, [left]).await;
    assert_eq!(author(&world).await, json!({ "id": NINA.id, "name": "Nina Lie", "removed": true }));
}

#[tokio::test]
async fn a_deleted_person_is_out_everywhere_and_forgotten_but_for_what_they_wrote() {
    let world = World::seeded().await;
    let nina = nina();
    deliver(&world, [renamed(&NINA, "Nina")]).await;
    list_leads(&world, &nina).await.expect(200);
    let messages = world.count("select count(*) from conversations").await;

    deliver(&world, [deleted(&NINA)]).await;
    assert_eq!(list_leads(&world, &nina).await.expect(403).code(), "member_removed");
    let sql = "select count(*) from memberships where user_id = $1 and removed_at is null";
    assert_eq!(world.row(sql, &[&NINA.id]).await.get::<_, i64>(0), 0, "in no dealership");
    // Nor does anything that comes late bring them back.
    let rejoined = membership(CREATED, "orgmem_new", &TESLA_OSLO, &NINA, "org:admin", Timestamp::now());
    deliver(&world, [renamed(&NINA, "Nina"), rejoined, deleted(&NINA)]).await;
    list_leads(&world, &super::token(&TESLA_OSLO, &NINA, "admin")).await.expect(403);

    assert_eq!(author(&world).await, json!({ "id": NINA.id, "name": null, "removed": true }));
    assert_eq!(world.count("select count(*) from conversations").await, messages);
    let line = format!("{} deleted", NINA.clerk_user_id);
    assert!(state(&world).await.contains(&line), "{:#?}", state(&world).await);
    let personal = "select count(*) from webhook_inbox where payload::text like '%Nina%' or payload::text like '%example@%'";
    assert_eq!(world.count(personal).await, 0, "the inbox forgets, too");
    list_leads(&world, &kari()).await.expect(200);
}

#[tokio::test]
async fn a_person_deleted_before_we_knew_them_is_never_made_by_a_token() {
    let world = World::empty().await;
    deliver(&world, [deleted(&KARI)]).await;
    list_leads(&world, &kari()).await.expect(403);
    assert_eq!(world.count("select count(*) from memberships").await, 0);
    assert_eq!(world.count("select count(*) from dealerships").await, 0);
}
