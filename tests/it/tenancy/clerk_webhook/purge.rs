//! The end of a dealership: out at once, purged after the grace period, and never back.
use dev::people::{TESLA_OSLO, VW_BERGEN};
use jiff::Timestamp;
use serde_json::json;
use shared::db::{Login, connect_as_owner};

use super::{CREATED, KARI, deliver, list_leads, membership, sample};
use crate::support::{Event, World, event, kari, per};

fn tesla(name: &'static str) -> Event {
    sample(name, |body| {
        body["timestamp"] = json!(Timestamp::now().as_millisecond());
        body["data"]["id"] = json!(TESLA_OSLO.clerk_org_id);
    })
}

/// Purges in steps of so many leads until nothing is left, and returns how many dealerships went.
async fn purge_by(world: &World, grace: &str, most_leads: i32) -> i64 {
    let (client, _connection) = connect_as_owner(&world.database.url(Login::Provisioner)).await.unwrap();
    let sql = "select purged_leads, purged_dealerships from scope.purge(now() - $1::text::interval, $2)";
    let mut dealerships = 0;
    loop {
        let row = client.query_one(sql, &[&grace, &most_leads]).await.unwrap();
        let (leads, gone): (i64, i64) = (row.get(0), row.get(1));
        assert!(leads <= i64::from(most_leads) && gone <= 1);
        if leads + gone == 0 {
            return dealerships;
        }
        dealerships += gone;
    }
}

async fn purge(world: &World, grace: &str) -> i64 {
    purge_by(world, grace, 5).await
}

/// How many rows each table with a tenant has of a dealership, by name.
async fn rows(world: &World, dealership: uuid::Uuid) -> Vec<(String, i64)> {
    let owner = world.owner().await;
    let tables = "select relname::text from pg_class t join pg_attribute a on a.attrelid = t.oid
                   where relkind = 'r' and relnamespace = 'public'::regnamespace and attname = 'dealership_id' order by 1";
    let mut rows = Vec::new();
    for table in owner.query(tables, &[]).await.unwrap() {
        let table: String = table.get(0);
        let count = format!("select count(*) from {table} where dealership_id = $1");
        rows.push((table, owner.query_one(&count, &[&dealership]).await.unwrap().get(0)));
    }
    rows
}

#[tokio::test]
async fn a_purge_removes_every_row_of_what_was_deleted_before_and_no_other() {
    let world = World::seeded().await;
    for (token, key) in [(kari(), "a"), (per(), "b")] {
        world.send(event("create-lead").by(&token).header("idempotency-key", key)).await.expect(201);
    }
    for dealership in [TESLA_OSLO.id, VW_BERGEN.id] {
        world.send(event("form-webhook").path("dealership_id", dealership)).await.expect(202);
    }
    let mappings =
        "insert into form_mappings (dealership_id, version, fields) select id, 1, '{}' from dealerships";
    world.owner().await.batch_execute(mappings).await.unwrap();
    world.send(event("merge-lead").by(&kari())).await.expect(201);
    let (before, others) = (rows(&world, TESLA_OSLO.id).await, rows(&world, VW_BERGEN.id).await);
    let empty: Vec<_> = before.iter().filter(|(_, count)| *count == 0).collect();
    assert!(empty.is_empty(), "give Tesla Oslo a row of {empty:?}, so that its purge is tested");

    assert_eq!(purge(&world, "0").await, 0, "nothing is deleted");
    deliver(&world, [tesla("clerk-webhook/organization.deleted")]).await;
    assert_eq!(purge(&world, "30 days").await, 0, "the grace period has begun");
    assert_eq!(rows(&world, TESLA_OSLO.id).await, before);
    assert_eq!(list_leads(&world, &kari()).await.expect(403).code(), "dealership_suspended");

    assert_eq!(purge(&world, "0").await, 1);
    assert!(rows(&world, TESLA_OSLO.id).await.iter().all(|(_, count)| *count == 0));
    assert_eq!(rows(&world, VW_BERGEN.id).await, others);
    list_leads(&world, &per()).await.expect(200);
    assert_eq!(purge(&world, "0").await, 0);
}

#[tokio::test]
async fn a_purged_dealership_stays_away_whatever_comes_late() {
    let world = World::seeded().await;
    deliver(&world, [tesla("clerk-webhook/organization.deleted")]).await;
    assert_eq!(purge(&world, "0").await, 1);
    let joined = membership(CREATED, "orgmem_new", &TESLA_OSLO, &KARI, "org:admin", Timestamp::now());
    let late = ["organization.created", "organization.updated", "organization.deleted"];
    let late = late.map(|name| tesla(Box::leak(format!("clerk-webhook/{name}").into_boxed_str())));
    deliver(&world, late.into_iter().chain([joined])).await;
    assert_eq!(list_leads(&world, &kari()).await.expect(403).code(), "dealership_suspended");
    assert_eq!(world.count("select count(*) from dealerships").await, 1, "VW Bergen");
    let tombstone = "select count(*) from clerk_tombstones where clerk_id = 'org_tesla_oslo'";
    assert_eq!(world.count(tombstone).await, 1);
}

#[tokio::test]
async fn no_other_login_can_delete_a_dealership() {
    let world = World::seeded().await;
    for login in Login::ALL {
        let (client, _connection) = connect_as_owner(&world.database.url(login)).await.unwrap();
        let error = client.batch_execute("delete from dealerships").await.unwrap_err();
        assert_eq!(error.code().unwrap().code(), "42501", "{login:?}");
        if login != Login::Provisioner {
            let error = client.batch_execute("select scope.purge(now(), 1)").await.unwrap_err();
            assert_eq!(error.code().unwrap().code(), "42501", "{login:?}");
        }
    }
}

/// The provisioner's own timeout bounds each step.
#[tokio::test]
async fn a_dealership_with_a_hundred_thousand_leads_goes_step_by_step() {
    let world = World::seeded().await;
    let fill = "
        alter table leads disable trigger user;
        alter table conversations disable trigger user;
        insert into leads (dealership_id, source, first_name)
        select d.id, 'api', 'Kunde' || i from dealerships d, generate_series(1, 100000) i where d.slug = 'tesla-oslo';
        insert into conversations (dealership_id, lead_id, direction, channel, author_kind, body)
        select dealership_id, id, 'inbound', 'email', 'customer', 'Hei' from leads where source = 'api';
        update dealerships set deleted_at = now() - interval '31 days' where slug = 'tesla-oslo';
        analyze";
    world.owner().await.batch_execute(fill).await.unwrap();
    let others = rows(&world, VW_BERGEN.id).await;
    assert_eq!(purge_by(&world, "30 days", 1_000).await, 1);
    assert!(rows(&world, TESLA_OSLO.id).await.iter().all(|(_, count)| *count == 0));
    assert_eq!(rows(&world, VW_BERGEN.id).await, others);
}

#[tokio::test]
async fn two_purges_at_once_do_each_others_work_no_harm() {
    let world = World::seeded().await;
    world
        .owner()
        .await
        .batch_execute("update dealerships set deleted_at = now() - interval '31 days'")
        .await
        .unwrap();
    let (first, second) = tokio::join!(purge_by(&world, "30 days", 3), purge_by(&world, "30 days", 4));
    assert_eq!(first + second, 2);
    assert_eq!(world.count("select count(*) from leads").await, 0);
}
