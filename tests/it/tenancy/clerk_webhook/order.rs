//! Membership events that come late, twice or in the wrong order, with tokens between them; `convergence` tries many
//! more.
use dev::clerk::ActiveOrganization;
use dev::people::{KARI, NINA, Person, TESLA_OSLO};
use dev::proxy::{Pass, Proxy};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{ACME, CREATED, DELETED, FOUNDER, UPDATED, deliver, list_leads, sample, state};
use crate::support::clerk::delivery;
use crate::support::{Event, World, event, lead, session_token, until};

/// So many seconds before now.
fn ago(seconds: i64) -> Timestamp {
    Timestamp::now() - SignedDuration::from_secs(seconds)
}

/// An event about Nina at Tesla Oslo.
fn nina(name: &'static str, id: &str, seconds_ago: i64) -> Event {
    super::membership(name, id, &TESLA_OSLO, &NINA, "org:member", ago(seconds_ago))
}

fn token(seconds_ago: i64) -> String {
    let organization =
        ActiveOrganization { id: TESLA_OSLO.clerk_org_id, role: "member", slug: TESLA_OSLO.slug };
    session_token(NINA.clerk_user_id, Some(organization), ago(seconds_ago))
}

const SEEDED: &str = "orgmem_tesla_oslo_nina";

#[tokio::test]
async fn no_order_of_two_memberships_that_are_over_lets_anybody_in() {
    let events = || {
        [
            nina(UPDATED, SEEDED, 50),
            nina(DELETED, SEEDED, 40),
            nina(CREATED, "orgmem_2", 30),
            nina(DELETED, "orgmem_2", 20),
        ]
    };
    for order in [[0, 1, 2, 3], [1, 3, 0, 2], [3, 1, 2, 0], [3, 2, 1, 0], [2, 3, 0, 1], [2, 1, 3, 0]] {
        let world = World::seeded().await;
        deliver(&world, order.map(|n| events()[n].clone())).await;
        // From the time of either.
        for seconds in [45, 25] {
            assert_eq!(
                list_leads(&world, &token(seconds)).await.expect(403).code(),
                "member_removed",
                "{order:?}"
            );
        }
        deliver(&world, events()).await;
        list_leads(&world, &token(25)).await.expect(403);
        // A person who has joined once more.
        list_leads(&world, &token(10)).await.expect(200);
    }
}

#[tokio::test]
async fn an_older_event_brings_nobody_back_before_the_removal_it_belongs_to() {
    let world = World::seeded().await;
    // Three memberships, and the end of the one in the middle is still to come.
    deliver(&world, [nina(DELETED, "orgmem_3", 10), nina(DELETED, SEEDED, 50)]).await;
    deliver(&world, [nina(CREATED, "orgmem_2", 40), nina(UPDATED, "orgmem_2", 35)]).await;
    list_leads(&world, &token(30)).await.expect(403);
}

#[tokio::test]
async fn a_removal_spares_a_member_whom_a_later_token_confirms() {
    for (issued, event, status) in [(10, 30, 200), (30, 10, 403)] {
        let world = World::seeded().await;
        // Only the token knows that the person has joined again.
        let left = "update memberships set clerk_membership_id = null, removed_at = now() - interval '40 s'
                     where clerk_membership_id = 'orgmem_tesla_oslo_nina'";
        world.owner().await.batch_execute(left).await.unwrap();
        let token = token(issued);
        list_leads(&world, &token).await.expect(200);
        deliver(&world, [nina(DELETED, "orgmem_1", event)]).await;
        let sql = "select count(*) from memberships m join users u on u.id = user_id join dealerships d on d.id = dealership_id
                    where clerk_user_id = 'user_nina_lie' and clerk_org_id = 'org_tesla_oslo' and removed_at is null";
        assert_eq!(world.count(sql).await, i64::from(status == 200));
        list_leads(&world, &token).await.expect(status);
    }
}

#[tokio::test]
async fn a_token_from_before_a_removal_makes_no_member() {
    let world = World::empty().await;
    deliver(&world, [nina(DELETED, "orgmem_1", 10)]).await;
    list_leads(&world, &token(20)).await.expect(403);
    list_leads(&world, &token(5)).await.expect(200);
}

#[tokio::test]
async fn the_first_member_is_the_admin_where_clerk_names_no_role() {
    let member = |user: &'static str, role: Option<&'static str>, at: i64| {
        sample(CREATED, move |body| {
            body["timestamp"] = json!(at);
            body["data"]["id"] = json!(format!("orgmem_{user}"));
            body["data"]["created_at"] = json!(at);
            body["data"]["role"] = json!(role);
            body["data"]["public_user_data"]["user_id"] = json!(user);
        })
    };
    for (first, second, roles) in [
        (None, None, ["admin", "sales_rep"]),
        (Some("basic_member"), Some("basic_member"), ["admin", "sales_rep"]),
        (Some("org:member"), None, ["sales_rep", "sales_rep"]),
        (None, Some("org:manager"), ["admin", "manager"]),
        (Some("org:made_up"), None, ["sales_rep", "sales_rep"]),
    ] {
        let events = [member(FOUNDER, first, 1_000), member("user_second", second, 2_000)];
        for order in [[0, 1], [1, 0]] {
            let world = World::empty().await;
            deliver(&world, order.map(|n| events[n].clone())).await;
            let sql = "select array_agg(role order by joined_version) from memberships";
            assert_eq!(
                world.row(sql, &[]).await.get::<_, Vec<String>>(0),
                roles,
                "{first:?} {second:?} {order:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_token_without_a_role_says_nothing_against_clerks_events() {
    for (token_first, role, expected) in
        [(true, None, " admin"), (false, None, " admin"), (true, Some("org:manager"), " manager")]
    {
        let world = World::empty().await;
        let organization = ActiveOrganization { id: ACME, role: "basic_member", slug: "acme-inc" };
        let token = session_token(FOUNDER, Some(organization), Timestamp::now());
        if token_first {
            list_leads(&world, &token).await.expect(200);
        }
        deliver(&world, [sample(CREATED, |body| body["data"]["role"] = json!(role))]).await;
        list_leads(&world, &token).await.expect(200);
        let state = state(&world).await;
        assert!(state.iter().any(|line| line.ends_with(expected)), "{state:#?}");
    }
}

/// The lower of both holds only where the token names one.
#[tokio::test]
async fn a_token_that_names_no_role_speaks_with_the_rows() {
    let world = World::seeded().await;
    let by = |name: &'static str, role: &'static str, person: &Person| {
        let organization = ActiveOrganization { id: TESLA_OSLO.clerk_org_id, role, slug: TESLA_OSLO.slug };
        event(name).by(&session_token(person.clerk_user_id, Some(organization), Timestamp::now()))
    };
    for role in ["", "basic_member", "org:basic_member"] {
        let me = |person| world.send(by("me", role, person));
        assert_eq!(me(&KARI).await.expect(200).json["role"], "admin", "{role:?}");
        assert_eq!(me(&NINA).await.expect(200).json["role"], "sales_rep", "{role:?}");
        // An admin sees every lead, a sales rep their own, and makes and deletes none.
        let list = |person| world.send(by("list-leads", role, person).query(""));
        assert_eq!(list(&KARI).await.expect(200).ids().len(), 10);
        assert!(list(&NINA).await.expect(200).ids().len() < 10);
        for refused in [by("delete-lead", role, &NINA).id(lead(1)), by("create-lead", role, &NINA)] {
            assert_eq!(world.send(refused).await.expect(403).code(), "forbidden", "{role:?}");
        }
    }
    world.send(by("create-lead", "", &KARI)).await.expect(201);
    // A token that names a role gets the lower of both.
    assert_eq!(world.send(by("me", "member", &KARI)).await.expect(200).json["role"], "sales_rep");
    world.send(by("delete-lead", "member", &KARI).id(lead(1))).await.expect(403);
    let later = "update memberships set role_at = now() + interval '1 minute'";
    world.owner().await.batch_execute(later).await.unwrap();
    world.send(by("me", "admin", &NINA)).await.expect(401);
    world.send(by("delete-lead", "", &KARI).id(lead(1))).await.expect(204);
}

/// The event cannot read yet what a removal under way will write, so it waits for the removal.
#[tokio::test]
async fn an_event_waits_for_another_about_the_same_person() {
    let world = std::sync::Arc::new(World::seeded().await);
    let mut owner = world.owner().await;
    let watcher = world.owner().await;
    let removal = owner.transaction().await.unwrap();
    let person = NINA.clerk_user_id;
    removal.execute("select scope.lock_clerk_id($1)", &[&person]).await.unwrap();
    let tombstone = "insert into clerk_tombstones (clerk_id, deleted_at) values ('orgmem_2', now())";
    removal.batch_execute(tombstone).await.unwrap();

    let (sender, message) = (world.clone(), delivery("msg_1", nina(CREATED, "orgmem_2", 5)));
    let sending = tokio::spawn(async move { sender.send(message).await.expect(200) });
    let waits = "select count(*) from pg_locks where locktype = 'advisory' and not granted
                    and database = (select oid from pg_database where datname = current_database())";
    let waiting = async || watcher.query_one(waits, &[]).await.unwrap().get::<_, i64>(0) > 0;
    until("the event waits or is answered", async || sending.is_finished() || waiting().await).await;
    removal.commit().await.unwrap();
    sending.await.unwrap();
    let sql = "select count(*) from memberships where clerk_membership_id = 'orgmem_2'";
    assert_eq!(world.count(sql).await, 0, "it was over before it was applied");
}

#[tokio::test]
async fn a_process_that_dies_between_the_inbox_and_the_effect_loses_nothing() {
    let world = World::empty().await;
    let proxy = Proxy::before(world.database.port(), Pass::AtOnce).await.unwrap();
    let world = world.through(proxy.port());
    deliver(&world, [event("clerk-webhook")]).await;

    let message = delivery("msg_1", event(CREATED));
    proxy.break_at_flush(2);
    world.send(message.clone()).await.expect(503);
    assert_eq!(world.count("select count(*) from webhook_inbox where message_id = 'msg_1'").await, 0);
    assert_eq!(world.count("select count(*) from memberships").await, 0);
    assert_eq!(world.send(message.clone()).await.expect(200).json["status"], "received");
    assert_eq!(world.count("select count(*) from memberships").await, 1);
    assert_eq!(world.send(message).await.expect(200).json["status"], "duplicate");
}
