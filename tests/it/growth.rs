//! What a request costs does not grow with the data: each reads what its page needs through an index, under the
//! policies, as the function's own user. PostgreSQL counts the rows it touched.
use std::time::{Duration, Instant};

use dev::people::{Dealership, NINA, TESLA_OSLO};
use shared::page::Cursor;
use uuid::Uuid;

use crate::clerk_reconcile::Bench;
use crate::import_leads;
use crate::support::{Event, World, event, token};

/// Leads of each dealership, beside a thousand that are all alike; eighteen thousand in all.
const LEADS: i64 = 2_000;
/// Rows of `leads` and `conversations` that a page of 50 may touch: the rows themselves, one to see whether there
/// is more, and the newest message of each, with some room for another version's plan.
const MOST_ROWS: i64 = 400;
/// A connection that was closed has ended by then.
const DEADLINE: Duration = Duration::from_secs(10);

const FILL: &str = "
    insert into dealerships (clerk_org_id, name) select 'org_more_' || i, 'More ' || i from generate_series(1, 4) i;
    alter table leads disable trigger user;
    alter table conversations disable trigger user;
    insert into leads (dealership_id, source, status, first_name, last_name, email, phone_e164, company, assigned_to,
                       created_at, updated_at)
    select d.id, case when i % 200 = 0 then 'sms' else 'website' end, case when i % 200 = 0 then 'contacted' else 'new' end,
           'Fornavn' || i, 'Etternavn' || i, 'kunde' || i || '@example.no', '+474' || lpad(i::text, 7, '0'), 'Firma ' || i,
           (select user_id from memberships m where m.dealership_id = d.id and role = 'sales_rep' and i % 200 = 0),
           now() - i * interval '1 minute', now() - i * interval '1 minute'
      from dealerships d, generate_series(1, 2000) i;
    insert into leads (dealership_id, source, first_name, last_name, email, phone_e164, vehicle_of_interest, created_at, updated_at)
    select d.id, 'website', 'Test', 'Testesen', 'test@example.no', '+4722222222', 'Bil' || i, now() - interval '9 days',
           now() - interval '9 days'
      from dealerships d, generate_series(1, 1000) i;
    insert into conversations (dealership_id, lead_id, direction, channel, author_kind, body, created_at)
    select dealership_id, id, 'inbound', 'email', 'customer', 'Hei', created_at from leads;
    insert into submissions (dealership_id, content_type, headers, body, content_hash, verdict, received_at)
    select d.id, 'application/json', '{}', '{}', decode(md5(i::text), 'hex'), case when i % 200 = 0 then 'spam' else 'accepted' end,
           now() - i * interval '1 minute'
      from dealerships d, generate_series(1, 2000) i;
    alter table leads enable trigger user;
    alter table conversations enable trigger user;
    analyze;
    select pg_stat_reset()";

/// Sequential scans of `leads`, `conversations` and `submissions`, and the rows fetched from them, by one request.
async fn cost(world: &World, event: Event) -> (i64, i64) {
    let owner = world.owner().await;
    // What an earlier connection has not told yet would count as ours.
    all_have_left(&owner).await;
    owner.batch_execute("select pg_stat_reset()").await.unwrap();
    // A server process tells its counts for certain when its connection ends.
    let once = World::on(world.database.clone());
    let reply = once.send(event).await;
    assert!(reply.status < 300, "{}", reply.json);
    drop(once);
    all_have_left(&owner).await;
    let counted =
        "select sum(seq_scan)::bigint, sum(seq_tup_read + idx_tup_fetch)::bigint from pg_stat_user_tables
                    where relname in ('leads', 'conversations', 'submissions')";
    let row = owner.query_one(counted, &[]).await.unwrap();
    (row.get(0), row.get(1))
}

/// Waits until no connection but this one is open.
async fn all_have_left(owner: &tokio_postgres::Client) {
    let deadline = Instant::now() + DEADLINE;
    let others = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()";
    while owner.query_one(others, &[]).await.unwrap().get::<_, i64>(0) > 0 {
        assert!(Instant::now() < deadline, "the connection is still there");
    }
}

fn nina(at: &Dealership) -> String {
    token(at, &NINA, "member")
}

#[tokio::test]
async fn a_page_reads_what_it_shows() {
    let world = World::seeded().await;
    world.owner().await.batch_execute(FILL).await.unwrap();
    let manager = token(&TESLA_OSLO, &dev::people::OLA, "manager");
    let deep = "select created_at from leads where dealership_id = $1 order by created_at offset 100 limit 1";
    let at = world.row(deep, &[&TESLA_OSLO.id]).await.get(0);
    let deep = format!("cursor={}", Cursor { order: 0, at, id: Uuid::nil() }.encode());
    let one =
        "select id from leads where dealership_id = $1 and status = 'contacted' and source = 'sms' limit 1";
    let one: Uuid = world.row(one, &[&TESLA_OSLO.id]).await.get(0);
    let many = "select id from leads where dealership_id = $1 and email = 'test@example.no' limit 1";
    let many: Uuid = world.row(many, &[&TESLA_OSLO.id]).await.get(0);

    for query in [
        "",
        "sort=created_at",
        "sort=-updated_at",
        "sort=updated_at",
        "status=contacted",
        "source=sms",
        "assigned_to=me",
        "assigned_to=019a0000-0000-7000-8000-000000000014",
        "created_before=2020-01-01T00:00:00Z",
        "created_after=2100-01-01T00:00:00Z",
        "updated_since=2100-01-01T00:00:00Z",
        "assigned_to=none",
        "q=etternavn1999",
        "q=FIRMA%201999",
        "q=kunde1999@",
        "q=40001999",
        "status=contacted&source=sms&assigned_to=me",
        &deep,
    ] {
        let (scans, rows) = cost(&world, event("list-leads").query(query).by(&manager)).await;
        assert!(
            scans == 0 && rows <= MOST_ROWS,
            "?{query}: {scans} sequential scans, {rows} rows of {LEADS}"
        );
    }
    for query in ["status=contacted", "q=etternavn1999", "updated_since=2100-01-01T00:00:00Z"] {
        let (scans, rows) = cost(&world, event("export-leads").query(query).by(&manager)).await;
        assert!(scans == 0 && rows <= MOST_ROWS, "a file of ?{query}: {scans} sequential scans, {rows} rows");
    }
    let others = [
        event("form-webhook").path("dealership_id", TESLA_OSLO.id),
        event("list-submissions").query("").by(&manager),
        event("list-submissions").query("verdict=spam").by(&manager),
        event("import-leads").by(&manager),
        import_leads::commit(event("import-leads").by(&manager)),
        event("list-leads").query("").by(&nina(&TESLA_OSLO)),
        event("get-lead").id(one).by(&manager),
        event("list-duplicates").id(one).by(&manager),
        event("list-duplicates").id(one).by(&nina(&TESLA_OSLO)),
        // Each of its keys is that of a thousand others.
        event("list-duplicates").id(many).by(&manager),
        event("list-conversations").query("").id(one).by(&manager),
        event("list-conversations").query("").id(one).by(&nina(&TESLA_OSLO)),
    ];
    for event in others {
        let function = event.function;
        let (scans, rows) = cost(&world, event).await;
        assert!(
            scans == 0 && rows <= MOST_ROWS,
            "{function}: {scans} sequential scans, {rows} rows of {LEADS}"
        );
    }
}

/// The inbox is the one table of Clerk's that grows with every event.
#[tokio::test]
async fn a_reconciliation_reads_the_messages_that_it_forgets_and_no_other() {
    let bench = Bench::seeded().await;
    let fill = "insert into webhook_inbox (provider, message_id, payload, clerk_user_id, received_at)
                select 'clerk', 'msg_' || i, '{}', 'user_' || i % 1000, now() - i * interval '2 minutes' from generate_series(1, 70000) i;
                insert into webhook_inbox (provider, message_id, payload, clerk_user_id, received_at)
                select 'clerk', 'msg_per_' || i, '{}', 'user_per_hansen', now() from generate_series(1, 20) i;
                update users set first_name = 'Old';
                analyze; select pg_stat_reset()";
    bench.sql(fill).await;
    bench.backend.edit(|clerk| clerk.delete("user_per_hansen"));
    let (report, _) = bench.try_run(event("clerk-reconcile").value().clone()).await.unwrap();
    assert_eq!((report.users, report.changed), (3, 5));
    assert!((5_000..5_400).contains(&report.forgotten_messages), "{report:?}");
    let owner = bench.world.owner().await;
    all_have_left(&owner).await;
    let counted = "select seq_scan, coalesce(idx_tup_fetch, 0) from pg_stat_user_tables where relname = 'webhook_inbox'";
    let row = owner.query_one(counted, &[]).await.unwrap();
    let (scans, rows): (i64, i64) = (row.get(0), row.get(1));
    assert!(
        scans == 0 && rows < 2 * report.forgotten_messages,
        "{scans} sequential scans, {rows} rows of 70020"
    );
}
