//! No customer twice.
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{file, import, leads, preview, refusal, statuses};
use crate::support::leads::commit;
use crate::support::{World, event, kari, lead, ola, until};

/// Imports that arrive at once.
const COPIES: usize = 8;
/// A row with an address, one with a number, one with neither.
const FILE: &str = "Navn;E-post;Telefon\nKari;kari.ny@example.no;\nOla;;912 34 506\nSiri;;\n";

/// What each duplicate repeats.
fn repeats(report: &Value) -> Vec<(u64, &Value)> {
    let results = report["results"].as_array().unwrap();
    let duplicates = results.iter().filter(|row| row["status"] == "duplicate");
    duplicates
        .map(|row| (row["row"].as_u64().unwrap(), row.get("lead_id").unwrap_or(&row["of_row"])))
        .collect()
}

#[tokio::test]
async fn a_row_repeats_a_living_lead_or_an_earlier_row_by_its_address_or_its_number() {
    let world = World::seeded().await;
    let text = "Navn;E-post;Telefon\n\
                A;Torunn.VAGEN@post.example;\n\
                B;;+47 400 00 107\n\
                C;c@example.no;912 34 507\n\
                D;C@Example.NO;\n\
                E;e@example.no;0047 91234507\n\
                F;E@example.no;\n\
                G;g@example.no;\n";
    for report in [preview(&world, text).await, import(&world, text).await] {
        assert_eq!(
            repeats(&report),
            [(2, &json!(lead(7))), (3, &json!(lead(7))), (5, &json!(4)), (6, &json!(4)), (7, &json!(6)),]
        );
        assert_eq!((&report["duplicates"], &report["invalid"]), (&json!(5), &json!(0)));
    }
    assert_eq!(leads(&world).await, 22);
}

#[tokio::test]
async fn invalid_differs_from_duplicate() {
    let world = World::seeded().await;
    // The number of a row that is left out is nobody's yet.
    let text = "Navn;E-post;Telefon\nKari;feil;912 34 508\nKari;kari.ny@example.no;912 34 508\nKari;kari.ny@example.no;\n";
    let report = import(&world, text).await;
    assert_eq!(statuses(&report), [(2, "invalid"), (3, "created"), (4, "duplicate")]);
    assert_eq!(
        (&report["created"], &report["duplicates"], &report["invalid"]),
        (&json!(1), &json!(1), &json!(1))
    );
}

#[tokio::test]
async fn a_deleted_lead_and_another_dealerships_are_in_nobodys_way() {
    let world = World::seeded().await;
    let theirs = world.row("select email from leads where id = $1", &[&lead(13)]).await.get::<_, String>(0);
    world.send(event("delete-lead").id(lead(7)).by(&kari())).await.expect(204);
    let text = format!("Navn;E-post\nTorunn;torunn.vagen@post.example\nDeres;{theirs}\n");
    assert_eq!(statuses(&import(&world, text).await), [(2, "created"), (3, "created")]);
}

#[tokio::test]
async fn the_same_file_again_makes_nothing_new_whoever_sends_it() {
    let world = World::seeded().await;
    let first = import(&world, FILE).await;
    assert_eq!(first["created"], 3);
    for token in [kari(), ola()] {
        let again = world.send(commit(file(FILE)).by(&token)).await.expect(200).json;
        assert_eq!(statuses(&again), [(2, "duplicate"), (3, "duplicate"), (4, "duplicate")]);
        let ids = |report: &Value| -> Vec<Value> {
            report["results"].as_array().unwrap().iter().map(|row| row["lead_id"].clone()).collect()
        };
        assert_eq!(ids(&again), ids(&first));
    }
    assert_eq!(leads(&world).await, 23);
}

#[tokio::test]
async fn rows_with_neither_address_nor_number_are_one_when_they_say_the_same() {
    let world = World::seeded().await;
    let text = "Navn;Firma;Telefon\nKari;;\nKari;;\nKari;Fjord AS;\nKari;;ring 12\n;Fjord AS;\n";
    let report = import(&world, text).await;
    assert_eq!(
        statuses(&report),
        [(2, "created"), (3, "duplicate"), (4, "created"), (5, "created"), (6, "created")]
    );
    assert_eq!(repeats(&report), [(3, &json!(2))]);
}

/// All of them are held at the door until the last has come, so that they really meet.
#[tokio::test(flavor = "multi_thread")]
async fn copies_that_arrive_at_once_make_no_lead_twice() {
    let world = Arc::new(World::seeded().await.with_concurrency(COPIES));
    let door = world.owner().await;
    door.batch_execute("begin; lock table leads in share mode").await.unwrap();
    let mut copies = JoinSet::new();
    for n in 0..COPIES {
        let world = world.clone();
        // Of two people, and of other files that have the same customers among others.
        let text = if n % 4 == 0 { format!("{FILE}Anne;anne{n}@example.no;\n") } else { FILE.to_owned() };
        let token = if n % 2 == 0 { kari() } else { ola() };
        copies.spawn(async move {
            world.send(commit(file(text)).by(&token)).await.expect(200).json["created"].as_u64().unwrap()
        });
    }
    let waiting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    until("all of them wait", async || world.count(waiting).await >= COPIES as i64).await;
    door.batch_execute("commit").await.unwrap();
    let made: u64 = copies.join_all().await.into_iter().sum();
    assert_eq!((made, leads(&world).await), (5, 25));
}

#[tokio::test]
async fn a_repeated_key_makes_nothing_new_and_tells_of_the_first() {
    let world = World::seeded().await;
    let keyed = |text: &str| commit(file(text)).header("idempotency-key", "one").by(&kari());
    let first = world.send(keyed(FILE)).await.expect(200).json;
    let id = first["results"][0]["lead_id"].as_str().unwrap();
    world.send(event("delete-lead").id(id).by(&kari())).await.expect(204);
    let again = world.send(keyed(FILE)).await.expect(200).json;
    assert_eq!(statuses(&again), [(2, "removed"), (3, "duplicate"), (4, "duplicate")]);
    assert_eq!(again["results"][1]["lead_id"], first["results"][1]["lead_id"]);
    assert_eq!(leads(&world).await, 23);

    let other = world.send(keyed("Navn\nAnne\n")).await;
    assert_eq!(refusal(&other), (422, "idempotency_key_reused"));
    let blank = world.send(commit(file(FILE)).header("idempotency-key", " ").by(&kari())).await;
    assert_eq!(refusal(&blank), (400, "invalid_idempotency_key"));
    assert_eq!(leads(&world).await, 23);
}
