//! Versions of the mapping: added where something changes, never changed themselves.
use std::collections::BTreeMap;

use dev::people::KARI;
use proptest::collection::btree_map;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestRunner;
use serde_json::{Map, Value, json};
use tokio::runtime::Runtime;

use super::{form, patch, send};
use crate::support::{World, cases, kari, until};

fn fields(fields: Value) -> Value {
    json!({"mapping": {"fields": fields}})
}

async fn versions(world: &World) -> Vec<(i32, Value)> {
    let sql = "select version, fields from form_mappings order by version";
    world.owner().await.query(sql, &[]).await.unwrap().iter().map(|row| (row.get(0), row.get(1))).collect()
}

#[tokio::test]
async fn another_mapping_is_a_new_version_and_the_same_is_none() {
    let world = World::seeded().await;
    send(&world, fields(json!({"Reg.nr.": "vehicle_of_interest"}))).await.expect(200);
    for same in [
        json!({"reg.nr.": "vehicle_of_interest"}),
        json!({" REG.NR. ": "vehicle_of_interest"}),
        json!({"x": null}),
    ] {
        send(&world, fields(same)).await.expect(200);
    }
    send(&world, fields(json!({"side": "ignored"}))).await.expect(200);
    send(&world, fields(json!({"reg.nr.": null}))).await.expect(200);
    send(&world, fields(Value::Null)).await.expect(200);
    send(&world, json!({"mapping": null})).await.expect(200);
    assert_eq!(
        versions(&world).await,
        [
            (1, json!({"reg.nr.": "vehicle_of_interest"})),
            (2, json!({"reg.nr.": "vehicle_of_interest", "side": "ignored"})),
            (3, json!({"side": "ignored"})),
            (4, json!({})),
        ]
    );
    let by = world.count("select count(*) from form_mappings where created_by is distinct from '019a0000-0000-7000-8000-000000000011'");
    assert_eq!(by.await, 0, "{:?} made them all", KARI.id);
}

#[tokio::test]
async fn a_mapping_grows_to_a_hundred_names_and_no_further() {
    let world = World::seeded().await;
    let names = |range: std::ops::Range<u32>| {
        fields(range.map(|n| (format!("felt {n}"), json!("ignored"))).collect::<Map<_, _>>().into())
    };
    send(&world, names(0..100)).await.expect(200);
    assert_eq!(send(&world, names(0..101)).await.expect(422).fields(), ["form.mapping.fields"]);
    assert_eq!(send(&world, names(100..101)).await.expect(422).fields(), ["form.mapping.fields"]);
    send(&world, fields(json!({"felt 0": null, "felt 100": "email"}))).await.expect(200);
    assert_eq!(form(&world).await["mapping"]["version"], 2);
}

#[tokio::test]
async fn of_two_at_once_one_wins_and_the_other_is_told() {
    let world = World::seeded().await.with_concurrency(2);
    let mut owner = world.owner().await;
    let held = owner.transaction().await.unwrap();
    held.execute("select from dealerships for update", &[]).await.unwrap();
    let both_wait = async {
        let waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and usename = 'norvalt_writer'
                          and datname = current_database()";
        let watcher = world.owner().await;
        let count = async || watcher.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0);
        until("both wait for each other", async || count().await >= 2).await;
        held.commit().await.unwrap();
    };
    let (one, other, ()) = tokio::join!(
        send(&world, fields(json!({"a": "email"}))),
        send(&world, fields(json!({"b": "phone"}))),
        both_wait,
    );
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409]);
    let (lost, form_of_lost) =
        if one.status == 409 { (&one, json!({"a": "email"})) } else { (&other, json!({"b": "phone"})) };
    assert_eq!(lost.code(), "settings_changed");
    assert_eq!(versions(&world).await.len(), 1);
    send(&world, fields(form_of_lost)).await.expect(200);
    assert_eq!(form(&world).await["mapping"], json!({"version": 2, "fields": {"a": "email", "b": "phone"}}));
}

#[test]
fn any_sequence_of_patches_leaves_what_rfc_7396_says_and_each_change_one_version() {
    let runtime = Runtime::new().unwrap();
    let world = runtime.block_on(World::seeded());
    let property = async |patches: Vec<Option<BTreeMap<String, Option<&str>>>>| {
        send(&world, json!({"mapping": null})).await.expect(200);
        let mut version = form(&world).await["mapping"]["version"].as_i64().unwrap();
        let mut expected = BTreeMap::<String, &str>::new();
        for names in &patches {
            let before = expected.clone();
            match names {
                None => expected.clear(),
                Some(names) => {
                    for (name, to) in names {
                        match to {
                            None => expected.remove(name),
                            Some(to) => expected.insert(name.clone(), *to),
                        };
                    }
                }
            }
            version += i64::from(expected != before);
            let reply = world.send(patch(fields(json!(names))).by(&kari())).await.expect(200);
            prop_assert_eq!(&reply.json["form"]["mapping"], &json!({"version": version, "fields": expected}));
        }
        Ok(())
    };
    let to = prop_oneof![1 => Just(None), 3 => select(vec!["email", "phone", "ignored", "marketing_consent"]).prop_map(Some)];
    let names = btree_map("[abæ\"'\\\\$.]{1,2}", to, 0..4);
    let patches = proptest::collection::vec(prop_oneof![1 => Just(None), 6 => names.prop_map(Some)], 1..8);
    TestRunner::new(cases(32)).run(&patches, |patches| runtime.block_on(property(patches))).unwrap();
}
