//! `POST /api/v1/leads/import`.
mod duplicates;
mod files;
mod large;

use insta::assert_json_snapshot;
use serde_json::{Value, json};

use crate::support::leads::commit;
use crate::support::{Event, Reply, World, event, id, kari, nina, ola, per};

/// This file, as a browser posts it.
fn file(bytes: impl AsRef<[u8]>) -> Event {
    event("import-leads/windows-1252").bytes(bytes.as_ref())
}

async fn preview(world: &World, bytes: impl AsRef<[u8]>) -> Value {
    world.send(file(bytes).by(&kari())).await.expect(200).json
}

async fn import(world: &World, bytes: impl AsRef<[u8]>) -> Value {
    world.send(commit(file(bytes)).by(&kari())).await.expect(200).json
}

/// The status of each row.
fn statuses(report: &Value) -> Vec<(u64, &str)> {
    let results = report["results"].as_array().unwrap();
    results.iter().map(|row| (row["row"].as_u64().unwrap(), row["status"].as_str().unwrap())).collect()
}

/// The row, field and code of each error.
fn errors(report: &Value) -> Vec<(u64, &str, &str)> {
    let errors = report["errors"].as_array().unwrap();
    let text = |error: &Value, name| error[name].as_str().map(str::to_owned).unwrap().leak() as &str;
    errors.iter().map(|e| (e["row"].as_u64().unwrap(), text(e, "field"), text(e, "code"))).collect()
}

async fn leads(world: &World) -> i64 {
    world.count("select count(*) from leads").await
}

/// A lead that a report names, as it is kept.
async fn kept(world: &World, report: &Value, index: usize) -> Value {
    let id = report["results"][index]["lead_id"].as_str().unwrap();
    world.send(event("get-lead").id(id).by(&kari())).await.expect(200).json
}

#[tokio::test]
async fn a_preview_says_what_would_become_of_each_row_and_writes_nothing() {
    let world = World::seeded().await;
    let reply = world.send(event("import-leads").by(&kari())).await.expect(200);
    assert_eq!(leads(&world).await, 20);
    assert_eq!(world.count("select count(*) from idempotency_keys").await, 0);
    assert_json_snapshot!(reply.json);
}

#[tokio::test]
async fn a_commit_imports_exactly_the_file_that_was_previewed() {
    let world = World::seeded().await;
    let preview = world.send(event("import-leads").by(&kari())).await.expect(200);
    let digest = preview.json["digest"].as_str().unwrap();
    let this = event("import-leads").by(&kari()).query(&format!("commit={digest}"));
    for other in
        [this.clone().body("Navn\nKari\n"), this.clone().query("commit=0"), this.clone().query("commit=")]
    {
        let reply = world.send(other).await;
        assert!(matches!((reply.status, reply.code()), (409, "file_changed") | (400, "invalid_parameters")));
    }
    assert_eq!(leads(&world).await, 20);

    let report = world.send(this).await.expect(200).json;
    assert_eq!(leads(&world).await, 22);
    assert_json_snapshot!(report, { ".results[].lead_id" => id() });
    let first = kept(&world, &report, 0).await;
    assert_eq!(
        (&first["first_name"], &first["source"], &first["status"]),
        (&json!("Åse"), &json!("website"), &json!("new"))
    );
    assert_eq!(first["message"], "Hei, er Model Y ledig?\nRing etter kl. 16.");
    let second = kept(&world, &report, 1).await;
    assert_eq!((&second["phone"], &second["phone_e164"]), (&json!("912 34 502"), &json!("+4791234502")));
}

#[tokio::test]
async fn every_fault_of_a_row_is_told_with_the_number_that_a_spreadsheet_shows() {
    let world = World::seeded().await;
    let long = "a".repeat(101);
    let text = format!(
        "Fornavn,E-post,Telefon,Firma,Kilde,Melding\n\
         Kari,kari@localhost,ring meg,,,\n\
         {long},,,,faks,\n\
         ,,,,,Hei\n\
         Ola,ola@example.no,,,,Hei,for,mange\n\
         Siri,siri@example.no,,,,"
    );
    let report = preview(&world, text).await;
    assert_eq!(
        errors(&report),
        [
            (2, "email", "invalid"),
            (2, "phone", "invalid"),
            (3, "first_name", "invalid"),
            (3, "source", "invalid"),
            (4, "email", "required"),
            (5, "", "invalid"),
        ]
    );
    assert_eq!(
        (&report["invalid"], &report["new"], &report["errors_total"]),
        (&json!(4), &json!(1), &json!(6))
    );
    let statuses_of = [(2, "invalid"), (3, "invalid"), (4, "invalid"), (5, "invalid"), (6, "new")];
    assert_eq!(statuses(&report), statuses_of);
}

#[tokio::test]
async fn what_the_columns_were_taken_for_is_told_and_nothing_is_dropped_silently() {
    let world = World::seeded().await;
    let report =
        preview(&world, "Navn;Fødselsdato;E-POST;Mobil;Telefon\nKari Nordmann;1.1.1990;;;912 34 503\n").await;
    assert_eq!(
        report["columns"],
        json!([
            {"header": "Navn", "field": "full_name"},
            {"header": "Fødselsdato", "field": null},
            {"header": "E-POST", "field": "email"},
            {"header": "Mobil", "field": "phone"},
            {"header": "Telefon", "field": "phone"},
        ])
    );
    let sample = &report["sample"][0];
    assert_eq!((&sample["first_name"], &sample["last_name"]), (&json!("Kari"), &json!("Nordmann")));
    assert_eq!(sample["phone"], "912 34 503", "of two columns for one field the one that says something");
}

/// The trap "phone-only rows dropped silently".
#[tokio::test]
async fn phone_only_rows_are_kept() {
    let world = World::seeded().await;
    let report = import(&world, "Navn;Telefon\n;912 34 504\n;46 70 123 45\n;1234\n").await;
    assert_eq!(statuses(&report), [(2, "created"), (3, "created"), (4, "created")]);
    let kept_numbers =
        world.count("select count(*) from leads where phone in ('912 34 504', '46 70 123 45', '1234')");
    assert_eq!(kept_numbers.await, 3);
}

#[tokio::test]
async fn a_source_is_ours_in_either_language_and_manual_when_the_file_has_none() {
    let world = World::seeded().await;
    let report = import(&world, "Navn,Kilde\nA,Nettside\nB,walk-in\nC,Google Ads\nD,\nE,FINN.no\n").await;
    for (index, source) in
        ["website", "walk_in", "google_ads", "manual", "marketplace"].into_iter().enumerate()
    {
        assert_eq!(kept(&world, &report, index).await["source"], source);
    }
}

#[tokio::test]
async fn who_edits_leads_imports_them_and_nobody_else() {
    let world = World::seeded().await;
    for query in ["", "commit=0"] {
        let reply = world.send(event("import-leads").by(&nina()).query(query)).await.expect(403);
        assert_eq!(reply.code(), "forbidden");
    }
    world.send(commit(event("import-leads")).by(&ola())).await.expect(200);
    assert_eq!(leads(&world).await, 22);
}

#[tokio::test]
async fn an_import_belongs_to_its_dealership() {
    let world = World::seeded().await;
    let report = import(&world, "Navn,E-post\nKari,kari.ny@example.no\n").await;
    let id = report["results"][0]["lead_id"].as_str().unwrap();
    world.send(event("get-lead").id(id).by(&per())).await.expect(404);
}

fn refusal(reply: &Reply) -> (u16, &str) {
    (reply.status, reply.code())
}
