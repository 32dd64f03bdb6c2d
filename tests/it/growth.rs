//! What a request costs does not grow with the data: each reads what its page needs through an index, under the
//! policies, as the function's own user. PostgreSQL counts the rows it touched.
use std::io::Write;

use dev::people::{Dealership, NINA, TESLA_OSLO};
use serde_json::json;
use shared::page::{Cursor, Order};
use uuid::Uuid;

use crate::support::clerk::reconciliation::Reconciliation;
use crate::support::clerk::{SAMPLES, delivery};
use crate::support::plans::Plans;
use crate::support::requests::{prepare, requests};
use crate::support::submissions::file_left;
use crate::support::{Event, World, event, kari, token, until};

/// Six dealerships with three thousand leads each, and a thousand without any.
const FILL: &str = include_str!("growth/fill.sql");
/// Rows of all tables that a page of 50 may touch: the rows themselves, one to see whether there is more, and the
/// newest message of each, with some room for another version's plan and for a dealership's people.
const MOST_ROWS: i64 = 400;

/// A world whose database counts what it reads.
struct Measured {
    world: World,
    plans: Plans,
}

/// What one request, or one run, has read of all tables.
struct Cost {
    /// The tables that it read sequentially.
    scanned: Vec<String>,
    rows: i64,
    /// Why.
    plans: String,
}

impl Measured {
    /// The seed, and what these statements add.
    async fn with(fill: &str) -> Self {
        let world = World::seeded().await;
        world.owner().await.batch_execute(fill).await.unwrap();
        let plans = Plans::of(&world).await;
        Self { world, plans }
    }

    async fn cost(&self, run: impl AsyncFnOnce(&World)) -> Cost {
        let owner = self.world.owner().await;
        // What an earlier connection has not reported yet would count as ours.
        all_have_left(&owner).await;
        owner.batch_execute("select pg_stat_reset()").await.unwrap();
        let end = self.plans.end();
        // A server process has reported its counts for certain when its connection has ended.
        let once = World::on(self.world.database.clone());
        run(&once).await;
        drop(once);
        all_have_left(&owner).await;
        let counted = "
            select coalesce(array_agg(relname::text order by relname) filter (where seq_scan > 0), '{}'),
                   sum(seq_tup_read + idx_tup_fetch)::bigint
              from pg_stat_user_tables";
        let row = owner.query_one(counted, &[]).await.unwrap();
        let scanned: Vec<String> = row.get(0);
        let plans = self.plans.since(end, &scanned);
        Cost { scanned, rows: row.get(1), plans }
    }

    async fn assert_reads_little(&self, what: &str, event: Event) {
        let send = async |world: &World| {
            let reply = world.send(event).await;
            assert!(reply.status < 300, "{what}: {}", reply.json);
        };
        let Cost { scanned, rows, plans } = self.cost(send).await;
        assert!(
            scanned.is_empty() && rows <= MOST_ROWS,
            "{what}: {rows} rows, sequential scans of {scanned:?}\n{plans}"
        );
    }
}

/// Waits until no connection but this one is open.
async fn all_have_left(owner: &tokio_postgres::Client) {
    let others = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()";
    let count = async || owner.query_one(others, &[]).await.unwrap().get::<_, i64>(0);
    until("every other connection has ended", async || count().await == 0).await;
}

fn nina(at: &Dealership) -> String {
    token(at, &NINA, "member")
}

#[tokio::test]
async fn a_page_reads_what_it_shows() {
    let filled = Measured::with(FILL).await;
    let world = &filled.world;
    let manager = token(&TESLA_OSLO, &dev::people::OLA, "manager");
    let deep = "select created_at from leads where dealership_id = $1 order by created_at offset 100 limit 1";
    let at = world.row(deep, &[&TESLA_OSLO.id]).await.get(0);
    let deep = format!(
        "cursor={}",
        Cursor { order: Order::of(&list_leads::ROUTE, "-created_at"), at, id: Uuid::nil() }.encode()
    );
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
        filled.assert_reads_little(&format!("?{query}"), event("list-leads").query(query).by(&manager)).await;
    }
    for query in ["status=contacted", "q=etternavn1999", "updated_since=2100-01-01T00:00:00Z"] {
        let file = event("export-leads").query(query).by(&manager);
        filled.assert_reads_little(&format!("a file of ?{query}"), file).await;
    }
    let others = [
        event("list-submissions").query("").by(&manager),
        event("list-submissions").query("verdict=spam").by(&manager),
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
        filled.assert_reads_little(event.function, event).await;
    }
}

/// `flushes::every_route_is_counted` holds that the list is whole.
#[tokio::test]
async fn each_route_reads_what_it_needs() {
    let filled = Measured::with(FILL).await;
    prepare(&filled.world, 1).await;
    for (name, event) in requests(1) {
        // A file of everything reads everything.
        let event = if name == "export-leads" { event.query("status=contacted") } else { event };
        filled.assert_reads_little(name, event).await;
    }
    for (n, name) in SAMPLES.into_iter().enumerate() {
        filled.assert_reads_little(name, delivery(&format!("msg_of_kind_{n}"), event(name))).await;
    }
}

/// Their open leads come last by age, where a search for the oldest one would begin.
#[tokio::test]
async fn an_enquiry_is_looked_for_among_its_customers_leads_alone() {
    let filled = Measured::with(FILL).await;
    let of_customer = "select count(*) from leads where email_key = 'test@example.no' and dealership_id = $1";
    let of_customer: i64 = filled.world.row(of_customer, &[&TESLA_OSLO.id]).await.get(0);
    let form = event("form-webhook").path("dealership_id", TESLA_OSLO.id);
    let form = form.json(json!({"email": "test@example.no", "message": "Hei igjen"}));
    let send = async |world: &World| drop(world.send(form).await.expect(202));
    let Cost { scanned, rows, plans } = filled.cost(send).await;
    assert!(scanned.is_empty() && rows <= of_customer + MOST_ROWS, "{rows} rows, {scanned:?}\n{plans}");
}

/// It has to ask at every dealership whether something is left, and asks an index.
#[tokio::test]
async fn what_is_left_to_parse_is_found_without_what_is_filed() {
    let filled = Measured::with(FILL).await;
    let leave = "
        update submissions set lead_id = null, filed_at = null, body = '{\"email\": \"ny@example.no\"}'
         where id in (select id from submissions where verdict = 'accepted' order by received_at limit 3)";
    filled.world.owner().await.batch_execute(leave).await.unwrap();
    let dealerships = filled.world.count("select count(*) from dealerships").await;
    let run = async |world: &World| assert_eq!(file_left(world).await.changed, 3);
    let Cost { scanned, rows, plans } = filled.cost(run).await;
    assert!(
        scanned == ["dealerships"] && rows <= dealerships + MOST_ROWS,
        "{rows} rows, sequential scans of {scanned:?}\n{plans}"
    );
}

/// Four people are fewer than an index is worth, and the gate looks for one of them within its function.
#[tokio::test]
async fn a_sequential_scan_is_reported_with_its_plan() {
    let seed = Measured::with("analyze").await;
    let list = async |world: &World| drop(world.send(event("list-leads").by(&kari())).await.expect(200));
    let Cost { scanned, plans, .. } = seed.cost(list).await;
    assert!(scanned.contains(&"users".to_owned()), "{scanned:?}\n{plans}");
    if seed.plans.are_logged() {
        assert!(plans.contains("Seq Scan on users "), "{plans}");
    } else {
        // To the process's own stderr, which `cargo test` does not hold back as it does what `eprintln!` prints.
        let skipped = "growth::a_sequential_scan_is_told_with_its_plan: the plan is NOT TESTED.";
        writeln!(std::io::stderr(), "{skipped} {plans}").unwrap();
    }
}

/// The inbox is the one table of Clerk's that grows with every event.
#[tokio::test]
async fn a_reconciliation_reads_the_messages_that_it_forgets_and_no_other() {
    let bench = Reconciliation::seeded().await;
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
