//! What each function says of itself in its `ROUTE` or `SCHEDULE`.
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use ::registry::Function;
use serde_json::Value;
use shared::page::Order;

use crate::support::openapi::DOCUMENT;
use crate::support::{ENDPOINTS, World};

/// The settings that every function gets by its login or its caller.
const OF_THE_DEPLOYMENT: [&str; 2] = ["CLERK_AUTHORIZED_PARTIES", "CLERK_ISSUER"];

#[test]
fn functions_are_in_alphabetical_order_and_each_is_there_once() {
    let mut all = BTreeSet::new();
    for area in &::registry::AREAS {
        let names: Vec<&str> = area.functions.iter().map(Function::name).collect();
        assert!(names.is_sorted(), "{names:?}");
        for name in names {
            assert!(all.insert(name), "{name} is there twice");
        }
    }
}

/// A cursor of one list or order is none of another: the hash of its name stands in it.
#[test]
fn no_two_lists_have_cursors_that_look_alike() {
    let mut orders = BTreeMap::new();
    for endpoint in ENDPOINTS.iter() {
        let route = endpoint.route;
        let parameters = &DOCUMENT["paths"][route.path][route.method.to_lowercase()]["parameters"];
        let parameters = parameters.as_array().unwrap();
        let named = |name: &str| parameters.iter().find(|parameter| parameter["name"] == name);
        if named("cursor").is_none() {
            continue;
        }
        let sorts = match named("sort").map(|sort| resolved(&sort["schema"])["enum"].as_array().unwrap()) {
            Some(sorts) => sorts.iter().map(|sort| sort.as_str().unwrap()).collect(),
            // Lists of one order name it in their code.
            None => vec!["created_at", "-created_at", "received_at", "-received_at"],
        };
        for sort in sorts {
            let order = format!("{:?}", Order::of(route, sort));
            let list = format!("{} by {sort}", route.name);
            assert_eq!(orders.insert(order, list.clone()), None, "{list} has the cursors of another list");
        }
    }
    assert!(orders.len() >= 12, "{orders:?}");
}

fn resolved(schema: &'static Value) -> &'static Value {
    let by_reference = schema["$ref"].as_str().and_then(|reference| DOCUMENT.pointer(&reference[1..]));
    by_reference.or_else(|| schema["allOf"].as_array().map(|all| resolved(&all[0]))).unwrap_or(schema)
}

#[tokio::test]
async fn each_constraint_that_a_route_answers_for_is_the_schemas() {
    let world = World::empty().await;
    let rows = world
        .owner()
        .await
        .query(
            "select conname::text from pg_constraint union select relname from pg_class where relkind = 'i'",
            &[],
        )
        .await
        .unwrap();
    let mut known: BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();
    // Those that a function of the database raises.
    let schema = fs::read_to_string(dev::workspace().join("migrations/schema.sql")).unwrap();
    known.extend(
        schema.split("constraint = '").skip(1).map(|rest| rest.split('\'').next().unwrap().to_owned()),
    );
    let mut named = 0;
    for endpoint in ENDPOINTS.iter() {
        for (name, _) in endpoint.route.constraints.iter().copied().flatten() {
            assert!(
                known.contains(*name),
                "{} answers for {name}, which is no constraint",
                endpoint.route.name
            );
            named += 1;
        }
    }
    assert!(named > 50, "only {named} named");
}

#[test]
fn each_setting_is_in_the_example() {
    let example = fs::read_to_string(dev::workspace().join(".env.example")).unwrap();
    let routes = ENDPOINTS.iter().map(|endpoint| (endpoint.route.name, endpoint.route.settings));
    let schedules = ::registry::schedules().map(|schedule| (schedule.name, schedule.settings));
    for (name, settings) in routes.chain(schedules) {
        for setting in settings.iter().chain(&OF_THE_DEPLOYMENT) {
            let line = format!("{setting}=");
            let is_there = example.lines().any(|row| row.trim_start_matches('#').starts_with(&line));
            assert!(is_there, "{name} reads {setting}, which .env.example does not have");
        }
    }
}
