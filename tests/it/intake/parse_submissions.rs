//! `parse-submissions`, what runs every minute and what `cargo dev replay` runs.
use std::time::Duration;

use dev::people::{TESLA_OSLO, VW_BERGEN};
use parse_submissions::{Difference, Replay, Report, Request};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::sandbox::kill_when;
use crate::support::submissions::{file_left, parse};
use crate::support::{World, event, kari};

async fn replay(world: &World, dry_run: bool) -> (Report, Vec<Difference>) {
    let replay = Replay { dealership_id: TESLA_OSLO.id, since: None, dry_run };
    parse(world, Request { replay: Some(replay) }).await
}

async fn send(world: &World, fields: Value) -> Uuid {
    let form = event("form-webhook").path("dealership_id", TESLA_OSLO.id).without_header("idempotency-key");
    let reply = world.send(form.json(fields)).await.expect(202);
    reply.json["receipt_id"].as_str().unwrap().parse().unwrap()
}

async fn map(world: &World, version: i32, fields: Value) {
    let sql = "insert into form_mappings (dealership_id, version, fields) values ($1, $2, $3)";
    world.owner().await.execute(sql, &[&TESLA_OSLO.id, &version, &fields]).await.unwrap();
}

/// As if nobody had filed what was received.
const UNFILE: &str = "
    with unfiled as (update submissions set filed_at = null, lead_id = null, made_lead = false, enquiry = null,
                                            received_at = received_at - interval '2 minutes'
                      where verdict = 'accepted' returning 1)
    select count(*) from unfiled";

/// Every row of what a form can change.
async fn dump(world: &World) -> Value {
    let sql = "select jsonb_agg(row order by row) from (
                   select to_jsonb(l) as row from leads l union all select to_jsonb(c) from conversations c
                   union all select to_jsonb(s) from submissions s union all select to_jsonb(k) from enquiry_keys k) rows";
    world.row(sql, &[]).await.get(0)
}

/// The trap of every intake that parses first: the process dies, and the enquiry with it. What it has sent already,
/// PostgreSQL files by itself, unless it loses its own process, too.
#[tokio::test]
async fn a_process_that_is_killed_between_envelope_and_parse_loses_nothing() {
    let world = World::seeded().await;
    let mut owner = world.owner().await;
    // Filing waits for this; storing does not.
    let lock = owner.transaction().await.unwrap();
    lock.batch_execute("lock table enquiry_keys in access exclusive mode").await.unwrap();

    let form = event("form-webhook").path("dealership_id", TESLA_OSLO.id);
    let stored = "select count(*) from submissions where verdict = 'accepted' and filed_at is null";
    kill_when(&world, &form, async || world.count(stored).await == 1).await;
    let server = "select count(pg_terminate_backend(pid, 5000)) from pg_stat_activity
                   where usename = 'norvalt_intake' and datname = current_database()";
    assert_eq!(world.count(server).await, 1);
    lock.rollback().await.unwrap();
    assert_eq!(
        world
            .count("select count(*) from leads where source = 'website' and email like 'kari.nordmann@%'")
            .await,
        0
    );

    assert_eq!(file_left(&world).await, Report::default(), "not yet: whoever stored it may be at it");
    world
        .owner()
        .await
        .batch_execute("update submissions set received_at = received_at - interval '2 minutes'")
        .await
        .unwrap();
    let report = file_left(&world).await;
    assert_eq!(report.changed, 1);
    assert!((120..180).contains(&report.waiting_seconds), "{report:?}: it has waited for two minutes");
    assert_eq!(
        world
            .count("select count(*) from leads where source = 'website' and email like 'kari.nordmann@%'")
            .await,
        1
    );
    assert_eq!(file_left(&world).await, Report::default());
}

#[tokio::test]
async fn what_is_left_is_filed_at_every_dealership() {
    let world = World::seeded().await;
    for n in 0..100 {
        send(&world, json!({ "email": format!("a{n}@b.example") })).await;
    }
    let form = event("form-webhook").path("dealership_id", VW_BERGEN.id).without_header("idempotency-key");
    world.send(form).await.expect(202);
    let owner = world.owner().await;
    let caps = "update submissions set verdict = 'accepted', reasons = '{}' where reasons = '{address_cap}'";
    owner.batch_execute(caps).await.unwrap();
    assert_eq!(world.count(UNFILE).await, 101);
    let report = file_left(&world).await;
    assert_eq!((report.read, report.changed, report.unreadable), (101, 101, 0));
    assert_eq!(
        world.count("select count(*) from submissions where verdict = 'accepted' and filed_at is null").await,
        0
    );
}

#[tokio::test]
async fn what_cannot_be_filed_is_held_for_a_person_and_stops_no_other() {
    let world = World::seeded().await;
    for email in ["odd@b.example", "even@b.example"] {
        send(&world, json!({ "email": email })).await;
    }
    let owner = world.owner().await;
    let refuse =
        "alter table leads add constraint leads_odd_check check (email <> 'odd@b.example') not valid";
    owner.batch_execute(refuse).await.unwrap();
    world.count(UNFILE).await;
    let report = file_left(&world).await;
    assert_eq!((report.read, report.changed), (2, 2));
    let verdicts = "select string_agg(concat_ws(' ', verdict, reasons[1]), ', ' order by received_at) from submissions where received_at > now() - interval '10 minutes'";
    assert_eq!(world.row(verdicts, &[]).await.get::<_, &str>(0), "held not_filed, accepted");
}

#[tokio::test]
async fn another_mapping_tells_what_it_would_change_and_then_changes_that() {
    let world = World::seeded().await;
    let made = send(&world, json!({ "felt_1": "Kari Nordmann", "felt_2": "912 34 567", "email": "kari@b.example", "utm_source": "google" })).await;
    let added =
        send(&world, json!({ "felt_2": "400 00 000", "email": "kari@b.example", "melding": "Hei igjen" }))
            .await;
    let lost = send(&world, json!({ "felt_2": "936 78 901", "felt_1": "Jon" })).await;
    let spam = send(&world, json!({ "felt_2": "911 11 111", "_gotcha": "x" })).await;
    assert_eq!(
        replay(&world, true).await,
        (Report { dry_run: true, read: 4, ..Report::default() }, vec![]),
        "with the seeded one that is held"
    );

    map(&world, 1, json!({ "felt_1": "full_name", "felt_2": "phone" })).await;
    let before = dump(&world).await;
    let (report, told) = replay(&world, true).await;
    assert_eq!(dump(&world).await, before, "a dry run changes not one row");
    let ids: Vec<Uuid> = told.iter().map(|difference| difference.id).collect();
    assert_eq!(ids, [made, added, lost]);
    insta::assert_json_snapshot!(
        told.iter()
            .map(|Difference { before, after, .. }| json!({ "before": before, "after": after }))
            .collect::<Vec<_>>()
    );

    let (done, same) = replay(&world, false).await;
    // Each was told by itself; the second now finds what the first has put on their lead.
    assert_eq!((&same[0], &same[2]), (&told[0], &told[2]), "what was told is what is done");
    let ids: Vec<Uuid> = same.iter().map(|difference| difference.id).collect();
    assert_eq!(ids, [made, added, lost]);
    assert_eq!((done.read, done.changed), (report.read, report.changed));
    let lead = "select l.first_name || ' ' || l.phone_e164 from leads l join submissions s on s.lead_id = l.id where s.id = $1";
    assert_eq!(world.row(lead, &[&made]).await.get::<_, &str>(0), "Kari +4791234567");
    assert_eq!(world.row(lead, &[&lost]).await.get::<_, &str>(0), "Jon +4793678901");
    assert_eq!(
        world.row("select verdict from submissions where id = $1", &[&spam]).await.get::<_, &str>(0),
        "spam"
    );
    assert_eq!(replay(&world, false).await.1, [], "twice is once");
}

#[tokio::test]
async fn what_a_person_has_changed_since_stays() {
    let world = World::seeded().await;
    let made =
        send(&world, json!({ "felt_1": "Kari", "felt_2": "Nordmann AS", "email": "kari@b.example" })).await;
    map(&world, 1, json!({ "felt_1": "first_name", "felt_2": "company" })).await;
    let lead: Uuid = world.row("select lead_id from submissions where id = $1", &[&made]).await.get(0);
    let edited = event("patch-lead")
        .id(lead)
        .by(&kari())
        .without_header("if-match")
        .json(json!({ "first_name": "Katrine", "message": "Ringt" }));
    world.send(edited).await.expect(200);
    replay(&world, false).await;
    let lead = world.send(event("get-lead").id(lead).by(&kari())).await.expect(200).json;
    assert_eq!(
        [&lead["first_name"], &lead["message"], &lead["company"]],
        ["Katrine", "Ringt", "Nordmann AS"]
    );
}

#[tokio::test]
async fn the_parser_sees_one_dealerships_submissions_and_no_lead() {
    let world = World::seeded().await;
    let (parser, _connection) =
        shared::db::connect_as_owner(&world.database.url(shared::Login::Parser)).await.unwrap();
    let seen = "select count(*) from submissions";
    assert_eq!(parser.query_one(seen, &[]).await.unwrap().get::<_, i64>(0), 0);
    parser.batch_execute(&format!("begin; select scope.enter_parsing('{}')", VW_BERGEN.id)).await.unwrap();
    assert_eq!(parser.query_one(seen, &[]).await.unwrap().get::<_, i64>(0), 1);
    let foreign = format!("select scope.picture_of_submission('{}')", crate::support::submission(1));
    assert!(parser.query_one(&foreign, &[]).await.unwrap().get::<_, Option<Value>>(0).is_none());
    assert!(parser.batch_execute("select from leads").await.is_err());
    tokio::time::timeout(Duration::from_secs(5), parser.batch_execute("rollback")).await.unwrap().unwrap();
}
