//! The gate's functions by themselves: what the handlers refuse, they refuse too.
use dev::people::{TESLA_OSLO, VW_BERGEN};
use jiff::Timestamp;
use shared::db::{Login, connect_as_owner};
use tokio_postgres::Client;

use crate::support::{World, lead, until};

async fn client(world: &World, login: Login) -> Client {
    connect_as_owner(&world.database.url(login)).await.unwrap().0
}

/// Begins a transaction in a member's scope.
async fn enter(client: &Client, person: &str, role: &str) {
    client.batch_execute("begin").await.unwrap();
    let enter = "select scope.enter_member($1, $2, $3, $4)";
    let now = Timestamp::now().as_second();
    client.execute(enter, &[&TESLA_OSLO.clerk_org_id, &person, &role, &now]).await.unwrap();
}

/// The SQLSTATE of a refusal.
async fn refusal(client: &Client, sql: &str) -> String {
    let error = client.batch_execute(sql).await.unwrap_err();
    client.batch_execute("rollback").await.unwrap();
    error.code().unwrap().code().to_owned()
}

fn merge(survivor: u16, other: u16) -> String {
    format!("select scope.merge_leads(gen_random_uuid(), '{}', '{}', null)", lead(survivor), lead(other))
}

#[tokio::test]
async fn a_merge_needs_a_scope_that_sees_every_lead_and_stays_in_its_dealership() {
    let world = World::seeded().await;
    let writer = client(&world, Login::Writer).await;
    assert_eq!(refusal(&writer, &merge(4, 3)).await, "42501", "no scope");
    enter(&writer, "user_nina_lie", "sales_rep").await;
    assert_eq!(refusal(&writer, &merge(2, 3)).await, "42501", "a sales rep");
    for (survivor, other) in [(4, 13), (13, 4), (13, 14)] {
        enter(&writer, "user_kari_nordmann", "admin").await;
        assert_eq!(refusal(&writer, &merge(survivor, other)).await, "NV005", "another dealership's");
    }

    enter(&writer, "user_kari_nordmann", "admin").await;
    writer.batch_execute(&format!("{}; commit", merge(4, 3))).await.unwrap();
    let undo = "select scope.undo_merge(id) from merges";
    assert_eq!(refusal(&writer, "select scope.undo_merge(gen_random_uuid())").await, "42501", "no scope");
    enter(&writer, "user_nina_lie", "sales_rep").await;
    assert_eq!(writer.query(undo, &[]).await.unwrap().len(), 0, "a sales rep sees no merge");
    writer.batch_execute("rollback").await.unwrap();
    let id: uuid::Uuid = world.row("select id from merges", &[]).await.get(0);
    let undo = format!("select scope.undo_merge('{id}')");
    enter(&writer, "user_nina_lie", "sales_rep").await;
    assert_eq!(refusal(&writer, &undo).await, "42501", "a sales rep");
    writer.batch_execute("begin").await.unwrap();
    let bergen = "select scope.enter_member($1, 'user_per_hansen', 'admin', $2)";
    writer.execute(bergen, &[&VW_BERGEN.clerk_org_id, &Timestamp::now().as_second()]).await.unwrap();
    assert_eq!(refusal(&writer, &undo).await, "NV005", "another dealership's");
}

#[tokio::test]
async fn nobody_else_puts_a_row_back_or_skips_its_count() {
    let world = World::seeded().await;
    for login in Login::ALL {
        let client = client(&world, login).await;
        for statement in [
            "update leads set version = 1",
            "update leads set updated_at = now()",
            "update leads set merged_into = null",
            "update conversations set lead_id = null",
            "update merges set undone_at = null",
            "delete from merges",
            "insert into merges (id) values (gen_random_uuid())",
            "select scope.change_lead(gen_random_uuid(), '{}')",
        ] {
            match login {
                Login::Reader => enter(&client, "user_kari_nordmann", "manager").await,
                Login::Writer => enter(&client, "user_kari_nordmann", "admin").await,
                Login::Provisioner | Login::Intake | Login::Parser => {
                    client.batch_execute("begin").await.unwrap()
                }
            }
            assert_eq!(refusal(&client, statement).await, "42501", "{login:?}: {statement}");
        }
    }
    // What they may change is counted.
    let writer = client(&world, Login::Writer).await;
    enter(&writer, "user_kari_nordmann", "admin").await;
    let changed = "update leads set company = 'Ny AS' where id = $1 returning version, updated_at = now()";
    let before: i32 =
        writer.query_one("select version from leads where id = $1", &[&lead(3)]).await.unwrap().get(0);
    let row = writer.query_one(changed, &[&lead(3)]).await.unwrap();
    assert_eq!((row.get::<_, i32>(0), row.get::<_, bool>(1)), (before + 1, true));
}

#[tokio::test]
async fn only_the_writer_merges() {
    let world = World::seeded().await;
    for login in [Login::Reader, Login::Provisioner, Login::Intake, Login::Parser] {
        let client = client(&world, login).await;
        for function in [merge(4, 3), "select scope.undo_merge(gen_random_uuid())".to_owned()] {
            client.batch_execute("begin").await.unwrap();
            assert_eq!(refusal(&client, &function).await, "42501", "{login:?}");
        }
    }
}

/// So two merges of the same leads cannot wait for each other.
#[tokio::test]
async fn leads_are_locked_in_the_order_of_their_ids() {
    let world = World::seeded().await;
    let (first, second) = (world.owner().await, world.owner().await);
    for (survivor, other) in [(3, 4), (4, 3)] {
        first
            .batch_execute(&format!("begin; select from leads where id = '{}' for update", lead(3)))
            .await
            .unwrap();
        let writer = client(&world, Login::Writer).await;
        enter(&writer, "user_kari_nordmann", "admin").await;
        let merge = merge(survivor, other);
        let merging = async { writer.batch_execute(&merge).await };
        let watching = async {
            let waits = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
            let count = async || second.query_one(waits, &[]).await.unwrap().get::<_, i64>(0);
            until("the merge waits for the lead", async || count().await > 0).await;
            let free =
                format!("begin; select from leads where id = '{}' for update nowait; rollback", lead(4));
            let locked = second.batch_execute(&free).await;
            first.batch_execute("rollback").await.unwrap();
            locked
        };
        let (merged, locked) = tokio::join!(merging, watching);
        merged.unwrap();
        locked.expect("the second lead is free until the first is locked");
        writer.batch_execute("rollback").await.unwrap();
    }
}

/// What the handlers never send all the same.
#[tokio::test]
async fn a_message_cannot_be_put_on_a_merged_lead() {
    let world = World::seeded().await;
    let writer = client(&world, Login::Writer).await;
    enter(&writer, "user_kari_nordmann", "admin").await;
    writer.batch_execute(&merge(4, 3)).await.unwrap();
    let message = format!(
        "insert into conversations (lead_id, direction, channel, author_kind, body) values ('{}', 'inbound', 'sms', 'customer', 'Hei')",
        lead(3)
    );
    let error = writer.batch_execute(&message).await.unwrap_err();
    assert_eq!(error.as_db_error().unwrap().constraint(), Some("conversations_lead_merged"));
}
