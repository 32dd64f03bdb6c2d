//! `POST /webhooks/form/{dealership_id}`.
use std::sync::Arc;

use dev::people::{TESLA_OSLO, VW_BERGEN};
use serde_json::{Value, json};
use shared::db::{Login, connect_as_owner};
use tokio::task::JoinSet;
use tokio_postgres::error::SqlState;
use uuid::Uuid;

use crate::support::{Event, Reply, World, event};

/// Two dealerships that have had no enquiry yet.
async fn world() -> World {
    let world = World::empty().await;
    let insert = "insert into dealerships (id, clerk_org_id, name) values ($1, $2, $3)";
    for dealership in [&TESLA_OSLO, &VW_BERGEN] {
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 3] =
            [&dealership.id, &dealership.clerk_org_id, &dealership.name];
        world.owner().await.execute(insert, &values).await.unwrap();
    }
    world
}

/// An event of `events/`, sent to Tesla Oslo.
fn form(name: &'static str) -> Event {
    event(name).path("dealership_id", TESLA_OSLO.id)
}

/// A form with these fields.
fn fields(fields: Value) -> Event {
    form("form-webhook").without_header("idempotency-key").json(fields)
}

/// A form as a browser encodes it.
fn urlencoded(body: &str) -> Event {
    let form = form("form-webhook").without_header("idempotency-key");
    form.header("content-type", "application/x-www-form-urlencoded").body(body)
}

/// Every lead, oldest first, without what differs between two of the same content.
async fn leads(world: &World) -> Vec<Value> {
    let sql = "select to_jsonb(l) - array['id', 'created_at', 'updated_at'] from leads l order by l.id";
    world.owner().await.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// Its answer says that something was received and nothing else.
#[track_caller]
fn receipt(reply: Reply) -> Uuid {
    let reply = reply.expect(202);
    let receipt = &reply.json["receipt_id"];
    assert_eq!(reply.json, json!({ "receipt_id": receipt, "status": "received" }));
    receipt.as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn json_and_urlencoded_make_the_same_lead() {
    let world = world().await;
    receipt(world.send(form("form-webhook")).await);
    assert_eq!(form("form-webhook/urlencoded").value()["isBase64Encoded"], true, "as the gateway sends it");
    receipt(world.send(form("form-webhook/urlencoded")).await);

    let leads = leads(&world).await;
    let [json, urlencoded] = leads.as_slice() else { panic!("{leads:#?}") };
    assert_eq!(json, urlencoded);
    let told = json!({
        "dealership_id": TESLA_OSLO.id,
        "source": "website",
        "status": "new",
        "first_name": "Kari",
        "last_name": "Nordmann",
        "email": "kari.nordmann@example.com",
        "phone": "912 34 567",
        "phone_e164": "+4791234567",
        "company": null,
        "message": "Hei, er ID.4 ledig for prøvekjøring?",
        "vehicle_of_interest": "Volkswagen ID.4",
        "assigned_to": null,
        "attribution": {
            "utm_source": "google",
            "utm_medium": "cpc",
            "utm_campaign": "id4-autumn",
            "gclid": "Cj0KCQiA-example",
            "referrer": "https://www.google.com/",
            "landing_page": "https://www.example.com/id4",
        },
        "consent": { "marketing": true },
    });
    for (column, value) in told.as_object().unwrap() {
        assert_eq!(&json[column], value, "{column}");
    }
}

#[tokio::test]
async fn a_bot_gets_the_same_answer_and_leaves_nothing() {
    let world = world().await;
    receipt(world.send(form("form-webhook/honeypot")).await);
    receipt(world.send(fields(json!({ "_gotcha": true, "email": "a@b.example" }))).await);
    receipt(world.send(urlencoded("_gotcha=x&email=no-e-mail&colour=red")).await);
    assert_eq!(leads(&world).await, [json!(null); 0]);
    let keys = "select count(*) from idempotency_keys";
    assert_eq!(world.count(keys).await, 0);

    // An empty trap is a person's.
    receipt(world.send(urlencoded("_gotcha=&email=a%40b.example")).await);
    assert_eq!(leads(&world).await.len(), 1);
}

#[tokio::test]
async fn an_e_mail_address_or_a_phone_number_is_enough_and_one_is_needed() {
    let world = world().await;
    let reply = world.send(form("form-webhook/missing-contact")).await.expect(422);
    assert_eq!((reply.code(), reply.fields()), ("validation_failed", vec!["email"]));
    assert_eq!(leads(&world).await.len(), 0);

    receipt(world.send(fields(json!({ "email": "a@b.example" }))).await);
    receipt(world.send(fields(json!({ "phone": "912 34 567" }))).await);
    assert_eq!(leads(&world).await.len(), 2);
}

#[tokio::test]
async fn every_fault_is_told_at_once_and_by_its_name() {
    let world = world().await;
    let faults = json!({
        "email": "no-e-mail",
        "first_name": 7,
        "colour": "red",
        "utm_source": "x".repeat(10_000),
        "consent[marketing]": "perhaps",
        "dealership_id": VW_BERGEN.id,
        "status": "won",
    });
    let reply = world.send(fields(faults)).await.expect(422);
    let named = [
        "attribution.utm_source",
        "colour",
        "consent.marketing",
        "dealership_id",
        "email",
        "first_name",
        "status",
    ];
    assert_eq!(reply.fields(), named);
    let errors = reply.json["errors"].as_array().unwrap();
    let code = |field| &errors.iter().find(|error| error["field"] == field).unwrap()["code"];
    assert_eq!([code("colour"), code("first_name"), code("email")], ["unknown", "type", "invalid"]);
    assert_eq!(leads(&world).await.len(), 0);
}

#[tokio::test]
async fn a_field_that_is_there_twice_is_refused() {
    let world = world().await;
    let reply = world.send(urlencoded("email=a%40b.example&email=c%40d.example")).await.expect(422);
    assert_eq!(reply.fields(), ["email"]);
    assert_eq!(leads(&world).await.len(), 0);
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_with_the_reason() {
    let world = world().await;
    let large = json!({ "email": "a@b.example", "message": "x".repeat(64 * 1024) });
    let plain = fields(json!({ "email": "a@b.example" })).header("content-type", "text/plain");
    let multipart = plain.clone().header("content-type", "multipart/form-data; boundary=x");
    let charset = plain.clone().header("content-type", "Application/JSON; charset=utf-8");
    let malformed = [
        (400, "malformed_json", fields(json!(["a"]))),
        (400, "malformed_json", fields(json!(null)).body("{\"email\":")),
        (400, "malformed_json", fields(json!({ "message": "a\0b", "email": "a@b.example" }))),
        (413, "too_large", fields(large)),
        (415, "unsupported_media_type", plain.clone()),
        (415, "unsupported_media_type", plain.without_header("content-type")),
        (415, "unsupported_media_type", multipart),
        (422, "validation_failed", urlencoded("email=a%40b.example&message=a%00b")),
        (422, "validation_failed", urlencoded("")),
    ];
    for (status, code, event) in malformed {
        let reply = world.send(event).await;
        assert_eq!((reply.status, reply.code()), (status, code), "{}", reply.json);
    }
    assert_eq!(leads(&world).await.len(), 0);
    receipt(world.send(charset).await);
}

#[tokio::test]
async fn the_path_names_the_dealership_and_only_one_that_takes_enquiries() {
    let world = world().await;
    let contact = || fields(json!({ "email": "a@b.example" }));
    world.send(contact().path("dealership_id", "tesla-oslo")).await.expect(400);
    let unknown = world.send(contact().path("dealership_id", Uuid::from_u128(1))).await.expect(404);

    for closed in ["subscription_status = 'suspended'", "deleted_at = now()"] {
        let change = format!("update dealerships set {closed} where id = '{}'", TESLA_OSLO.id);
        world.owner().await.batch_execute(&change).await.unwrap();
        let reply = world.send(contact()).await.expect(404);
        assert_eq!(reply.code(), unknown.code(), "a stranger is not told why");
        let undo = "update dealerships set subscription_status = 'active', deleted_at = null";
        world.owner().await.batch_execute(undo).await.unwrap();
    }
    assert_eq!(leads(&world).await.len(), 0);

    receipt(world.send(contact().path("dealership_id", VW_BERGEN.id)).await);
    assert_eq!(leads(&world).await[0]["dealership_id"], json!(VW_BERGEN.id));
}

#[tokio::test]
async fn a_key_makes_one_lead_however_often_and_fast_it_comes() {
    let world = Arc::new(world().await.with_concurrency(8));
    let mut copies = JoinSet::new();
    for _ in 0..50 {
        let world = world.clone();
        copies.spawn(async move { receipt(world.send(form("form-webhook")).await) });
    }
    let mut receipts = copies.join_all().await;
    receipts.push(receipt(world.send(form("form-webhook")).await));
    receipts.dedup();
    assert_eq!((receipts.len(), leads(&world).await.len()), (1, 1));
}

#[tokio::test]
async fn another_key_or_another_dealership_or_no_key_makes_another_lead() {
    let world = world().await;
    let keyless = form("form-webhook").without_header("idempotency-key");
    let others = [
        form("form-webhook"),
        form("form-webhook").header("idempotency-key", "another"),
        form("form-webhook").path("dealership_id", VW_BERGEN.id),
        keyless.clone(),
        keyless,
    ];
    let mut receipts = Vec::new();
    for event in others {
        receipts.push(receipt(world.send(event).await));
    }
    receipts.sort_unstable();
    receipts.dedup();
    assert_eq!((receipts.len(), leads(&world).await.len()), (5, 5));
}

#[tokio::test]
async fn the_forms_user_can_insert_and_see_nothing() {
    let world = World::seeded().await;
    let tables = "select relname::text from pg_class
                   where relnamespace = 'public'::regnamespace and relkind in ('r', 'v', 'm', 'p')";
    let tables: Vec<String> =
        world.owner().await.query(tables, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    assert!(tables.len() >= 9, "{tables:?}");

    let (intake, _connection) = connect_as_owner(&world.database.url(Login::Intake)).await.unwrap();
    let enter = format!("select scope.enter_intake('{}')", TESLA_OSLO.id);
    for scope in ["select", &enter] {
        let mut statements = vec![
            "insert into leads (source, email) values ('website', 'a@b.example') returning id".to_owned(),
            "insert into leads (source, email) values ('website', 'a@b.example')
                 on conflict (dealership_id, id) do update set email = 'a@b.example'"
                .to_owned(),
        ];
        for table in &tables {
            statements.push(format!("select * from {table}"));
            statements.push(format!("select count(*) from {table}"));
            statements.push(format!("select from {table} for update"));
            statements.push(format!("copy {table} to stdout"));
            statements.push(format!("delete from {table}"));
            statements.push(format!("truncate {table}"));
        }
        for statement in statements {
            intake.batch_execute(&format!("begin; {scope}")).await.unwrap();
            let refused = intake.batch_execute(&statement).await.err();
            intake.batch_execute("rollback").await.unwrap();
            let code = refused.as_ref().and_then(tokio_postgres::Error::code);
            assert_eq!(code, Some(&SqlState::INSUFFICIENT_PRIVILEGE), "after {scope}: {statement}");
        }
    }

    // The same connection may do what it is for.
    let insert = "insert into leads (source, email) values ('website', 'a@b.example')";
    intake.batch_execute(&format!("begin; {enter}; {insert}; commit")).await.unwrap();
    assert_eq!(world.count("select count(*) from leads where email = 'a@b.example'").await, 1);
}
