//! Absent, null and a value differ (RFC 7396).
use dev::people::{NINA, OLA};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestRunner;
use serde_json::{Map, Value, json};
use tokio::runtime::Runtime;

use super::{get, patch};
use crate::support::{World, cases, event, kari, lead, vehicle};

/// The lead without what every change sets.
fn unversioned(mut lead: Value) -> Value {
    lead.as_object_mut().unwrap().remove("updated_at").unwrap();
    lead
}

#[tokio::test]
async fn what_is_absent_stays_and_null_clears() {
    let world = World::seeded().await;
    let mut expected = unversioned(get(&world, 5).await.json);
    assert_eq!(expected["company"], "Fjordtaxi AS");
    expected["company"] = Value::Null;
    let cleared = world.send(event("patch-lead/clear-company").id(lead(5)).by(&kari())).await.expect(200);
    assert_eq!(unversioned(cleared.json), expected);

    expected["message"] = json!("Ring etter kl. 16");
    expected["vehicle_id"] = Value::Null;
    let body = json!({"message": "  Ring etter kl. 16 ", "vehicle_id": null});
    let changed = world.send(patch(5, body).by(&kari())).await.expect(200);
    assert_eq!(unversioned(changed.json), expected);

    let nothing = world.send(patch(5, json!({})).by(&kari())).await.expect(200);
    assert_eq!(unversioned(nothing.json), expected);
}

#[tokio::test]
async fn a_phone_number_and_what_it_was_understood_to_be_change_together() {
    let world = World::seeded().await;
    for (phone, e164) in [
        (json!("912 34 567"), json!("+4791234567")),
        (json!("1234"), json!(null)),
        (json!("+46 70 123 45 67"), json!("+46701234567")),
        (json!(null), json!(null)),
    ] {
        let reply = world.send(patch(1, json!({"phone": phone})).by(&kari())).await.expect(200);
        assert_eq!((&reply.json["phone"], &reply.json["phone_e164"]), (&phone, &e164));
        let other = world.send(patch(1, json!({"company": "Ny AS"})).by(&kari())).await.expect(200);
        assert_eq!((&other.json["phone"], &other.json["phone_e164"]), (&phone, &e164), "another field");
    }
}

#[tokio::test]
async fn attribution_and_consent_merge_field_by_field() {
    let world = World::seeded().await;
    for (sent, attribution, consent) in [
        (json!({"attribution": {"gclid": "g"}}), json!({"gclid": "g"}), json!({})),
        (json!({"attribution": {"utm_id": "u"}}), json!({"gclid": "g", "utm_id": "u"}), json!({})),
        (
            json!({"attribution": {"gclid": null}, "consent": {"marketing": true, "text_version": "1"}}),
            json!({"utm_id": "u"}),
            json!({"marketing": true, "text_version": "1"}),
        ),
        (
            json!({"consent": {"marketing": false}}),
            json!({"utm_id": "u"}),
            json!({"marketing": false, "text_version": "1"}),
        ),
        (json!({"attribution": null, "consent": null}), json!({}), json!({})),
    ] {
        let reply = world.send(patch(4, json!(sent)).by(&kari())).await.expect(200);
        assert_eq!((&reply.json["attribution"], &reply.json["consent"]), (&attribution, &consent), "{sent}");
    }
}

/// RFC 7396, section 2, as it is written there.
fn merge(target: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let target = target.as_object_mut().unwrap();
    for (name, value) in patch {
        if value.is_null() {
            target.remove(name);
        } else {
            merge(target.entry(name).or_insert(Value::Null), value);
        }
    }
}

/// Text that is trimmed already, with what SQL and JSON could trip over.
fn text() -> impl Strategy<Value = Value> {
    prop_oneof![
        r#"[a-zæøåA-ZÆØÅ0-9'"\\%_{}$:,.-]{1,12}"#.prop_map(Value::from),
        select(vec![json!("null"), json!("{}"), json!("æ\n\"ø\""), json!("🚗 🇳🇴")]),
    ]
}

fn choice(values: Vec<Value>) -> impl Strategy<Value = Value> {
    select(values)
}

fn or_null(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    prop_oneof![3 => value, 1 => Just(Value::Null)]
}

fn object(fields: Vec<(&'static str, BoxedStrategy<Value>)>) -> impl Strategy<Value = Value> {
    let fields: Vec<_> = fields.into_iter().map(|(name, value)| option::of((Just(name), value))).collect();
    fields.prop_map(|fields| {
        fields
            .into_iter()
            .flatten()
            .map(|(name, value)| (name.to_owned(), value))
            .collect::<Map<_, _>>()
            .into()
    })
}

/// A valid patch: the last name is never cleared, so that the lead keeps one.
fn any_patch() -> impl Strategy<Value = Value> {
    let attribution = object(vec![
        ("utm_source", or_null(text()).boxed()),
        ("gclid", or_null(text()).boxed()),
        ("landing_page", or_null(text()).boxed()),
    ]);
    let marketing = choice(vec![json!(true), json!(false), Value::Null]);
    let consent = object(vec![("marketing", marketing.boxed()), ("text_version", or_null(text()).boxed())]);
    let phones = ["912 34 567", "+46 70 123 45 67", "1234"].map(Value::from).to_vec();
    let emails = ["kari@example.no", "Ola.Berg@Example.COM"].map(Value::from).to_vec();
    object(vec![
        ("source", choice(["website", "email", "adf"].map(Value::from).to_vec()).boxed()),
        ("first_name", or_null(text()).boxed()),
        ("last_name", text().boxed()),
        ("email", or_null(choice(emails)).boxed()),
        ("phone", or_null(choice(phones)).boxed()),
        ("company", or_null(text()).boxed()),
        ("message", or_null(text()).boxed()),
        ("vehicle_id", or_null(choice(vec![json!(vehicle(1)), json!(vehicle(2))])).boxed()),
        ("vehicle_of_interest", or_null(text()).boxed()),
        ("assigned_to", or_null(choice(vec![json!(NINA.id), json!(OLA.id)])).boxed()),
        ("attribution", or_null(attribution).boxed()),
        ("consent", or_null(consent).boxed()),
    ])
}

/// The lead as it would be if the API left out what is empty.
fn document(lead: &Value) -> Value {
    let fields = lead.as_object().unwrap().iter();
    let is_own = |name: &str| !["id", "created_at", "updated_at", "phone_e164"].contains(&name);
    let own = fields.filter(|(name, value)| is_own(name) && !value.is_null() && **value != json!({}));
    own.map(|(name, value)| (name.clone(), value.clone())).collect::<Map<_, _>>().into()
}

#[test]
fn any_sequence_of_patches_leaves_what_rfc_7396_says() {
    let runtime = Runtime::new().unwrap();
    let world = runtime.block_on(World::seeded());
    let property = async |patches: Vec<Value>| {
        let new = event("create-lead").without_header("idempotency-key");
        let created = world.send(new.by(&kari())).await.expect(201).json;
        let id = created["id"].as_str().unwrap();
        let mut expected = document(&created);
        for patch in &patches {
            merge(&mut expected, patch);
            world.send(event("patch-lead").id(id).json(patch.clone()).by(&kari())).await.expect(200);
        }
        let lead = world.send(event("get-lead").id(id).by(&kari())).await.expect(200).json;
        prop_assert_eq!(document(&lead), document(&expected));
        Ok(())
    };
    let sequences = vec(any_patch(), 1..8);
    TestRunner::new(cases(32)).run(&sequences, |patches| runtime.block_on(property(patches))).unwrap();
}
