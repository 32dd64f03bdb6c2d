//! What a file says, an import reads.
use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::export;
use crate::support::leads::commit;
use crate::support::{World, cases, event, kari, per};

/// What both a file has and an import fills.
const COLUMNS: [&str; 9] = [
    "source",
    "first_name",
    "last_name",
    "email",
    "phone",
    "phone_e164",
    "company",
    "message",
    "vehicle_of_interest",
];

/// Text as `create-lead` takes it, full of what means something to a spreadsheet or a CSV file.
fn text() -> impl Strategy<Value = Option<String>> {
    prop::option::of(prop_oneof![
        "[a-zæøå'=+@＝ \"-][;,'=+@\"\r\n\ta-zæøå＋ -]{0,12}[a-zæøå'=\"]",
        "\\PC{1,20}",
        Just("=1+1".to_owned()),
    ])
    .prop_map(|text| text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()))
}

fn lead() -> impl Strategy<Value = BTreeMap<&'static str, Option<String>>> {
    let phone =
        prop::option::of(prop_oneof!["\\+47 9[0-9]{2} [0-9]{2} [0-9]{3}", "4[0-9]{7}", "\\+[0-9]{3}", "-1"]);
    let email = prop::option::of("[=+'-]?[a-z]{1,8}@example\\.no");
    (text(), text(), text(), text(), text(), phone, email, prop::sample::select(leads::Source::NAMES))
        .prop_map(|(first_name, last_name, company, message, vehicle_of_interest, phone, email, source)| {
            BTreeMap::from([
                ("source", Some((*source).to_owned())),
                ("first_name", first_name.or(Some("Kari".to_owned()))),
                ("last_name", last_name),
                ("company", company),
                ("message", message),
                ("vehicle_of_interest", vehicle_of_interest),
                ("phone", phone),
                ("email", email),
            ])
        })
}

#[test]
fn an_import_of_our_own_file_has_the_same_values() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let world = runtime.block_on(World::seeded());
    let forget = "delete from idempotency_keys; delete from conversations; delete from leads";
    TestRunner::new(cases(60))
        .run(&prop::collection::vec(lead(), 1..5), |leads| {
            runtime.block_on(async {
                world.owner().await.batch_execute(forget).await.unwrap();
                for lead in &leads {
                    let new =
                        event("create-lead").without_header("idempotency-key").json(serde_json::json!(lead));
                    let reply = world.send(new.by(&kari())).await;
                    prop_assert_eq!(reply.status, 201, "{:?} {}", lead, reply.json);
                }
                let theirs = world.send(event("export-leads").by(&kari())).await.expect(200);
                let import = event("import-leads/windows-1252").bytes(&theirs.body);
                let report = world.send(commit(import).by(&per())).await.expect(200).json;
                prop_assert_eq!(&report["invalid"], 0, "{}", report);
                prop_assert_eq!(&report["encoding"], "UTF-8");

                let rows = export(&world, event("export-leads").by(&kari())).await;
                let ours = export(&world, event("export-leads").by(&per())).await;
                let values = |row: &BTreeMap<String, String>| COLUMNS.map(|name| row[name].clone());
                let read: Vec<_> = ours.iter().map(values).collect();
                for row in &rows {
                    prop_assert!(
                        read.contains(&values(row)) || report["duplicates"] != 0,
                        "{:?} in {:?}",
                        values(row),
                        read
                    );
                }
                prop_assert_eq!(
                    rows.len() as u64,
                    read.len() as u64 + report["duplicates"].as_u64().unwrap()
                );
                Ok(())
            })
        })
        .unwrap();
}

#[tokio::test]
async fn our_own_columns_that_no_import_fills_are_named() {
    let world = World::seeded().await;
    let file = world.send(event("export-leads").by(&kari())).await.expect(200).body;
    let preview = event("import-leads/windows-1252").bytes(&file).by(&kari());
    let report = world.send(preview).await.expect(200).json;
    let columns = report["columns"].as_array().unwrap();
    let unknown: Vec<_> = columns
        .iter()
        .filter(|column| column["field"].is_null())
        .map(|column| column["header"].as_str().unwrap())
        .collect();
    assert_eq!(
        unknown,
        [
            "id",
            "created_at",
            "updated_at",
            "status",
            "lost_reason",
            "assigned_to",
            "assigned_to_name",
            "marketing_consent"
        ]
    );
    assert_eq!((&report["duplicates"], &report["new"]), (&10.into(), &0.into()));
    assert_eq!(world.count("select count(*) from leads").await, 20);
}
