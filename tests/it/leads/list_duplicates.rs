//! `GET /api/v1/leads/{id}/duplicates`.
use dev::people::{Dealership, NINA, TESLA_OSLO, VW_BERGEN};
use insta::assert_json_snapshot;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use uuid::Uuid;

use crate::support::{Reply, World, cases, event, id, kari, lead, nina, ola, per, time, token, vehicle};

/// A lead that was created so many minutes ago, with these columns.
async fn insert(world: &World, at: &Dealership, age: i32, columns: Value) -> Uuid {
    let sql = "insert into leads (dealership_id, source, first_name, last_name, email, phone, phone_e164, vehicle_id,
                                  vehicle_of_interest, assigned_to, created_at)
               select $1, 'api', r.first_name, r.last_name, r.email, r.phone, r.phone_e164, r.vehicle_id,
                      r.vehicle_of_interest, r.assigned_to, now() - $2 * interval '1 minute'
                 from jsonb_populate_record(null::leads, $3) r returning id";
    world.row(sql, &[&at.id, &f64::from(age), &columns]).await.get(0)
}

async fn duplicates(world: &World, id: Uuid, token: &str) -> Reply {
    world.send(event("list-duplicates").id(id).by(token)).await.expect(200)
}

/// The lead of each item, and the codes of its reasons.
fn found(reply: &Reply) -> Vec<(Uuid, String)> {
    let item = |item: &Value| {
        let codes = item["reasons"].as_array().unwrap().iter().map(|reason| reason["code"].as_str().unwrap());
        (item["lead"]["id"].as_str().unwrap().parse().unwrap(), codes.collect::<Vec<_>>().join(" "))
    };
    reply.json["items"].as_array().unwrap().iter().map(item).collect()
}

#[tokio::test]
async fn each_duplicate_has_its_reasons_and_the_strongest_is_first() {
    let world = World::seeded().await;
    let insert = async |age, columns| insert(&world, &TESLA_OSLO, age, columns).await;
    let by_name = insert(
        1,
        json!({"first_name": "Åse", "last_name": "BJØRNSTAD", "vehicle_of_interest": "tesla model y"}),
    )
    .await;
    let by_phone =
        insert(2, json!({"first_name": "A", "phone": "40000101", "phone_e164": "+4740000101"})).await;
    let by_email = insert(3, json!({"email": "Ase.Bjornstad@POST.example"})).await;
    let newer_by_email = insert(1, json!({"email": "ase.bjornstad@post.example"})).await;
    let by_all = insert(
        9,
        json!({"first_name": "Åse", "last_name": "Bjørnstad", "vehicle_id": vehicle(1),
        "email": "ase.bjornstad@post.example", "phone": "+47 400 00 101", "phone_e164": "+4740000101"}),
    )
    .await;

    let reply = world.send(event("list-duplicates").by(&kari())).await.expect(200);
    let expected = [
        (by_all, "same_email same_phone same_name_and_vehicle"),
        (newer_by_email, "same_email"),
        (by_email, "same_email"),
        (by_phone, "same_phone"),
        (by_name, "same_name_and_vehicle"),
    ];
    assert_eq!(found(&reply), expected.map(|(id, codes)| (id, codes.to_owned())));
    let shown = world.send(event("get-lead").id(by_all).by(&kari())).await.expect(200).json;
    assert_eq!(reply.json["items"][0]["lead"], shown);
    assert_json_snapshot!(reply.json["items"][0], {
        ".lead.id" => id(), ".lead.created_at" => time(), ".lead.updated_at" => time(),
    });
}

#[tokio::test]
async fn what_is_blank_is_like_nothing() {
    let world = World::seeded().await;
    let insert = async |columns| insert(&world, &TESLA_OSLO, 1, columns).await;
    // Phone only, e-mail only, a number that nobody understood, a company's nameless enquiry: each is itself.
    let mut all = Vec::new();
    for columns in [
        json!({"phone": "1234"}),
        json!({"phone": "1234"}),
        json!({"phone": "40010001", "phone_e164": "+4740010001"}),
        json!({"email": "a@post.example"}),
        json!({"first_name": "Kari", "vehicle_of_interest": "Golf"}),
        json!({"first_name": "Kari", "vehicle_of_interest": "Golf"}),
        json!({"first_name": "Per", "last_name": "Vik"}),
        json!({"first_name": "Per", "last_name": "Vik"}),
        json!({"first_name": "Per", "last_name": "Vik", "vehicle_of_interest": "Polo"}),
    ] {
        all.push(insert(columns).await);
    }
    for id in all {
        assert_eq!(found(&duplicates(&world, id, &kari()).await), []);
    }
}

#[tokio::test]
async fn a_number_is_compared_whole() {
    let world = World::seeded().await;
    let insert =
        async |e164: &str| insert(&world, &TESLA_OSLO, 1, json!({"phone": e164, "phone_e164": e164})).await;
    let norwegian = insert("+4791234567").await;
    // The last eight digits are the same, and in the last pair the last ten.
    insert("+4691234567").await;
    insert("+14791234567").await;
    assert_eq!(found(&duplicates(&world, norwegian, &kari()).await), []);
    let same = insert("+4791234567").await;
    assert_eq!(found(&duplicates(&world, norwegian, &kari()).await), [(same, "same_phone".to_owned())]);
}

#[tokio::test]
async fn a_lead_that_has_only_a_number_is_found_by_it() {
    let world = World::seeded().await;
    let typed = |phone: &str| {
        event("create-lead").without_header("idempotency-key").json(json!({"source": "sms", "phone": phone}))
    };
    let first = world.send(typed("912 34 567").by(&kari())).await.expect(201).json;
    let second = world.send(typed("0047 91 23 45 67").by(&kari())).await.expect(201).json;
    let reply =
        world.send(event("list-duplicates").id(first["id"].as_str().unwrap()).by(&kari())).await.expect(200);
    assert_eq!(reply.json["items"][0]["lead"], second);
    assert_eq!(reply.json["items"][0]["reasons"], json!([{"code": "same_phone", "value": "+4791234567"}]));
}

#[tokio::test]
async fn others_dealerships_deleted_and_merged_leads_are_no_duplicates() {
    let world = World::seeded().await;
    let columns = json!({"email": "ase.bjornstad@post.example"});
    insert(&world, &VW_BERGEN, 1, columns.clone()).await;
    let deleted = insert(&world, &TESLA_OSLO, 1, columns.clone()).await;
    let merged = insert(&world, &TESLA_OSLO, 1, columns).await;
    assert_eq!(found(&duplicates(&world, lead(1), &kari()).await).len(), 2);
    world.send(event("delete-lead").id(deleted).by(&kari())).await.expect(204);
    let merge = event("merge-lead").id(lead(1)).json(json!({"lead_id": merged}));
    world.send(merge.by(&kari())).await.expect(201);
    assert_eq!(found(&duplicates(&world, lead(1), &kari()).await), []);
    for gone in [deleted, merged] {
        world.send(event("list-duplicates").id(gone).by(&kari())).await.expect(404);
    }
}

#[tokio::test]
async fn a_sales_rep_sees_their_own_leads_alone() {
    let world = World::seeded().await;
    let columns = json!({"email": "hakon.saether@post.example"});
    insert(&world, &TESLA_OSLO, 1, columns.clone()).await;
    let mut own = columns;
    own["assigned_to"] = json!(NINA.id);
    let own = insert(&world, &TESLA_OSLO, 2, own).await;
    assert_eq!(found(&duplicates(&world, lead(2), &nina()).await), [(own, "same_email".to_owned())]);
    assert_eq!(found(&duplicates(&world, lead(2), &ola()).await).len(), 2);
}

#[tokio::test]
async fn what_is_not_yours_or_not_there_is_not_found() {
    let world = World::seeded().await;
    let unknown = world.send(event("list-duplicates").id(Uuid::now_v7()).by(&kari())).await.expect(404);
    let nina_in_bergen = token(&VW_BERGEN, &NINA, "member");
    for (n, token) in [(13, kari()), (1, per()), (4, nina()), (1, nina()), (2, nina_in_bergen)] {
        let reply = world.send(event("list-duplicates").id(lead(n)).by(&token)).await.expect(404);
        assert_eq!(reply.json, unknown.json, "{n}");
    }
    let reply = world.send(event("list-duplicates").id("not-a-uuid").by(&kari())).await.expect(400);
    assert_eq!(reply.fields(), ["id"]);
    let reply = world.send(event("list-duplicates").query("limit=5").by(&kari())).await.expect(400);
    assert_eq!(reply.fields(), ["limit"]);
}

#[tokio::test]
async fn at_most_twenty_are_told_and_the_strongest_is_one_of_them() {
    let world = World::seeded().await;
    let same = "insert into leads (dealership_id, source, email, created_at)
                select $1, 'api', 'ase.bjornstad@post.example', now() + n * interval '1 minute' from generate_series(1, 40) n";
    world.owner().await.execute(same, &[&TESLA_OSLO.id]).await.unwrap();
    let columns =
        json!({"email": "ase.bjornstad@post.example", "phone": "40000101", "phone_e164": "+4740000101"});
    let strongest = insert(&world, &TESLA_OSLO, 99, columns).await;
    let found = found(&duplicates(&world, lead(1), &kari()).await);
    assert_eq!((found.len(), found[0].0), (20, strongest));
}

/// Few values, so that many leads share one.
fn columns() -> impl Strategy<Value = Value> {
    (0..3u8, 0..3u8, 0..4u8, 0..3u8).prop_map(|(email, phone, name, vehicle)| {
        let mut columns = json!({"company": "Firma AS"});
        if email > 0 {
            columns["email"] = json!(format!("{}@post.example", if email == 1 { "a" } else { "A" }));
        }
        if phone > 0 {
            columns["phone_e164"] = json!(format!("+474000020{phone}"));
        }
        match name {
            1 => columns["first_name"] = json!("Kari"),
            2 => (columns["first_name"], columns["last_name"]) = (json!("Kari"), json!("Vik")),
            3 => columns["first_name"] = json!("kari vik"),
            _ => {}
        }
        if vehicle > 0 {
            columns["vehicle_of_interest"] = json!(if vehicle == 1 { "Golf" } else { "Polo" });
        }
        columns
    })
}

/// The same by brute force, on what was put in.
fn reasons(a: &Value, b: &Value) -> String {
    let key = |lead: &Value, field: &str| lead[field].as_str().map(str::to_lowercase);
    let same = |field: &str| key(a, field).is_some() && key(a, field) == key(b, field);
    let name = |lead: &Value| {
        let parts = ["first_name", "last_name"].map(|field| key(lead, field).unwrap_or_default());
        parts.join(" ").trim().to_owned()
    };
    let same_name = name(a) == name(b) && name(a).contains(' ');
    let reasons = [
        (same("email"), "same_email"),
        (same("phone_e164"), "same_phone"),
        (same_name && same("vehicle_of_interest"), "same_name_and_vehicle"),
    ];
    reasons.into_iter().filter(|(is_so, _)| *is_so).map(|(_, code)| code).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_duplicates_are_those_that_a_comparison_of_all_pairs_finds() {
    let runtime = Runtime::new().unwrap();
    let world = runtime.block_on(World::seeded());
    let owner = runtime.block_on(world.owner());
    let insert = "insert into leads (dealership_id, source, company, first_name, last_name, email, phone_e164, vehicle_of_interest)
                  select $1, 'api', r.company, r.first_name, r.last_name, r.email, r.phone_e164, r.vehicle_of_interest
                    from jsonb_populate_record(null::leads, $2) r returning id";
    let property = async |leads: Vec<Value>| {
        owner.batch_execute("truncate leads cascade").await.unwrap();
        let mut ids: Vec<Uuid> = Vec::new();
        for lead in &leads {
            ids.push(owner.query_one(insert, &[&TESLA_OSLO.id, lead]).await.unwrap().get(0));
        }
        for (me, id) in leads.iter().zip(&ids) {
            let others = leads.iter().zip(&ids).filter(|(_, other)| *other != id);
            let mut expected: Vec<_> = others.map(|(lead, other)| (*other, reasons(me, lead))).collect();
            expected.retain(|(_, reasons)| !reasons.is_empty());
            expected.sort();
            let mut found = found(&duplicates(&world, *id, &kari()).await);
            found.sort();
            prop_assert_eq!(found, expected);
        }
        Ok(())
    };
    TestRunner::new(cases(24)).run(&vec(columns(), 2..9), |leads| runtime.block_on(property(leads))).unwrap();
}
