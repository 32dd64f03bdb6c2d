//! `POST /webhooks/form/{dealership_id}`.
mod captcha;
mod limits;
mod repeats;

use std::collections::BTreeSet;

use dev::people::{TESLA_OSLO, VW_BERGEN};
use intake::{Enquiry, Form, Mapping, TokenKeys};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use shared::db::{Login, connect_as_owner};
use tokio_postgres::error::SqlState;
use uuid::Uuid;

use crate::support::{Event, FORM_SECRET, Reply, World, event};

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

/// The database reads an enquiry as a row of `leads` and drops without a word what is no column.
#[tokio::test]
async fn each_field_of_an_enquiry_is_a_column_of_a_lead() {
    let all = json!({
        "first_name": "Kari", "last_name": "Nordmann", "email": "kari@example.no", "phone": "912 34 567",
        "company": "Nordmann AS", "message": "Er den ledig?", "vehicle_of_interest": "ID.4", "utm_source": "google",
        "consent": {"marketing": true},
    });
    let form = Form::read("application/json", all.to_string().as_bytes()).await.unwrap();
    let enquiry = serde_json::to_value(Enquiry::read(&form, &Mapping::default())).unwrap();
    let fields = names(&enquiry);
    let schema = schemars::schema_for!(Enquiry).to_value();
    let mut documented = names(&schema["properties"]);
    documented.extend(["phone", "phone_e164"]);
    assert_eq!(fields, documented, "a field is not set here");

    let columns =
        "select array_agg(attname::text) from pg_attribute where attrelid = 'leads'::regclass and attnum > 0";
    let columns: Vec<String> = World::empty().await.row(columns, &[]).await.get(0);
    let missing: Vec<_> =
        fields.into_iter().filter(|field| !columns.iter().any(|column| column == field)).collect();
    assert_eq!(missing, [""; 0], "leads has no such columns");
}

fn names(object: &Value) -> BTreeSet<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

/// `accepted`, or `spam: honeypot`, of each submission, in the order in which they came.
async fn verdicts(world: &World) -> Vec<String> {
    let sql = "select concat_ws(': ', verdict, nullif(array_to_string(reasons, ', '), ''))
                 from submissions order by received_at";
    world.owner().await.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// What a form has that was shown so many seconds ago.
fn shown(seconds_ago: i64) -> String {
    let then = Timestamp::now() - SignedDuration::from_secs(seconds_ago);
    TokenKeys::parse(FORM_SECRET).unwrap().sign(TESLA_OSLO.id, then)
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
async fn the_three_content_types_make_the_same_lead() {
    let mut made = Vec::new();
    for name in ["form-webhook", "form-webhook/urlencoded", "form-webhook/multipart"] {
        let world = world().await;
        receipt(world.send(form(name)).await);
        let mut leads = leads(&world).await;
        assert_eq!(leads.len(), 1, "{name}");
        leads[0]["consent"]["given_at"] = json!("[time]");
        made.extend(leads);
    }
    assert_eq!(form("form-webhook/multipart").value()["isBase64Encoded"], true, "as the gateway sends it");
    assert_eq!(made[0], made[1]);
    assert_eq!(made[0], made[2]);
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
        "consent": { "marketing": true, "given_at": "[time]" },
    });
    for (column, value) in told.as_object().unwrap() {
        assert_eq!(&made[0][column], value, "{column}");
    }
}

#[tokio::test]
async fn what_came_is_kept_as_it_came() {
    let world = world().await;
    let sent =
        form("form-webhook/multipart").header("authorization", "Bearer secret").header("cookie", "a=b");
    let id = receipt(world.send(sent.clone()).await);
    let row = world.row("select body, content_type, headers, verdict, filed_at is not null, made_lead, lead_id = (select id from leads) from submissions where id = $1", &[&id]).await;
    assert_eq!(row.get::<_, Vec<u8>>(0), sent.request().body().as_ref());
    assert!(row.get::<_, String>(1).starts_with("multipart/form-data; boundary="));
    let headers: Value = row.get(2);
    let names: Vec<&String> = headers.as_object().unwrap().keys().collect();
    assert_eq!(names, ["accept", "content-type", "origin", "user-agent"], "no address, cookie or token");
    assert_eq!((row.get(3), row.get(4), row.get(5), row.get(6)), ("accepted", true, true, true));
}

#[tokio::test]
async fn accepted_held_and_spam_get_the_same_answer_and_wait_as_long() {
    let world = world().await;
    let contact = |extra: &str| urlencoded(&format!("email=a{}%40b.example&{extra}", Uuid::new_v4()));
    let with = |seconds: i64| format!("_gotcha=&_t={}", shown(seconds));
    let cases = [
        ("accepted", contact("")),
        ("accepted", contact("_gotcha=")),
        ("accepted", contact(&with(3))),
        ("spam: honeypot", contact("_gotcha=x")),
        ("spam: honeypot", contact("_honey=x&colour=red")),
        ("spam: too_fast", contact(&with(0))),
        ("spam: token_forged", contact("_gotcha=&_t=1795165200.abc")),
        // The bot picked the fields that it knew and left the trap out.
        ("spam: honeypot_missing", contact(&format!("_t={}", shown(60)))),
        ("held: token_stale", contact(&with(24 * 60 * 60 + 1))),
        ("held: no_contact", urlencoded("navn=Kari&melding=Hei")),
        ("held: no_contact", urlencoded("email=no-e-mail&phone=ring")),
        ("held: no_contact", urlencoded("")),
    ];
    for (_, event) in &cases {
        let reply = world.send(event.clone()).await;
        assert_eq!(reply.headers["vary"], "accept, origin");
        receipt(reply);
    }
    assert_eq!(verdicts(&world).await, cases.clone().map(|(verdict, _)| verdict));
    assert_eq!(leads(&world).await.len(), 3, "only what was accepted is a lead");

    let next = "&_next=https://www.example.com/takk";
    let owner = world.owner().await;
    owner
        .batch_execute("update dealerships set form_redirect_origins = '{https://www.example.com}'")
        .await
        .unwrap();
    for extra in ["", "_gotcha=x"] {
        let reply =
            world.send(contact(&format!("{extra}{next}")).header("accept", "text/html")).await.expect(303);
        assert_eq!(reply.headers["location"], "https://www.example.com/takk");
    }
}

#[tokio::test]
async fn the_browser_goes_on_to_an_allowed_origin_and_to_no_other() {
    let world = world().await;
    let owner = world.owner().await;
    owner
        .batch_execute(
            "update dealerships set form_redirect_origins = '{https://a.example,http://localhost:3000,https://xn--bl-yia.example}'",
        )
        .await
        .unwrap();
    let send = |next: &str, accept: &'static str| {
        let body = json!({ "email": format!("{}@b.example", Uuid::new_v4()), "_next": next });
        world.send(fields(body).header("accept", accept))
    };
    let html = "text/html,application/xhtml+xml";
    for next in [
        "https://a.example",
        "https://a.example/takk?x=1#y",
        "http://localhost:3000/",
        "https://xn--bl-yia.example/takk",
    ] {
        let reply = send(next, html).await.expect(303);
        assert_eq!(reply.headers["location"], next);
        receipt(send(next, "application/json").await);
    }
    for next in [
        "https://a.example.evil.example/",
        "https://a.example@evil.example/",
        "https://a.example\\@evil.example/",
        "http://a.example/",
        "https://a.example:8443/",
        "//a.example/",
        "/takk",
        "javascript:alert(1)",
        "https://a.example/\r\nset-cookie: a=b",
        "HTTPS://A.EXAMPLE/",
        "https://A.example/",
        "https://a.example:443/",
        "https://kari@a.example/",
        "https:a.example/",
        "https:\\\\a.example/",
        "https://a.example\t/",
        "https://a\u{2024}example/",
        "https://blå.example/",
    ] {
        let reply = send(next, html).await;
        assert!(reply.headers.get("location").is_none(), "{next}");
        receipt(reply);
    }
}

#[tokio::test]
async fn a_script_reads_the_answer_on_the_dealerships_own_origins_alone() {
    let world = world().await;
    let owner = world.owner().await;
    owner.batch_execute("update dealerships set form_origins = '{https://a.example}'").await.unwrap();
    let from = |origin: &str| {
        fields(json!({ "email": format!("{}@b.example", Uuid::new_v4()) })).header("origin", origin)
    };
    let allowed = |reply: Reply| {
        reply.headers.get("access-control-allow-origin").map(|v| v.to_str().unwrap().to_owned())
    };
    assert_eq!(allowed(world.send(from("https://a.example")).await).as_deref(), Some("https://a.example"));
    for other in [
        "https://b.example",
        "https://a.example.b.example",
        "null",
        "http://a.example",
        "https://a.example:444",
        "https://a.example:443",
        "https://kari@a.example",
        "https://a.example/",
        "https://a.example\\",
        "https://A.example",
        "https://a.example\t",
    ] {
        assert_eq!(allowed(world.send(from(other)).await), None, "{other}");
    }
    // An origin proves nothing, so nothing is refused for it.
    assert_eq!(leads(&world).await.len(), 12);
}

#[tokio::test]
async fn nothing_that_people_typed_is_lost() {
    let world = world().await;
    let typed = json!({
        "Navn": "Kari Nordmann", "E-post": "kari@", "Mobil": "912 34 567", "Ønsket tid": "tirsdag",
        "status": "won", "dealership_id": VW_BERGEN.id,
    });
    receipt(world.send(fields(typed)).await);
    let leads = leads(&world).await;
    let message = leads[0]["message"].as_str().unwrap();
    for line in ["E-post: kari@", "Ønsket tid: tirsdag", "status: won"] {
        assert!(message.contains(line), "{message}");
    }
    assert_eq!((&leads[0]["status"], &leads[0]["email"]), (&json!("new"), &Value::Null));
    assert_eq!(leads[0]["dealership_id"], json!(TESLA_OSLO.id));
}

#[tokio::test]
async fn a_dealerships_own_mapping_is_used_and_named() {
    let world = world().await;
    let mapping = "insert into form_mappings (dealership_id, version, fields) values
                       ($1, 1, '{\"felt\": \"ignored\"}'), ($1, 2, '{\"felt\": \"email\", \"Nyheter\": \"marketing_consent\"}')";
    world.owner().await.execute(mapping, &[&TESLA_OSLO.id]).await.unwrap();
    let id = receipt(world.send(urlencoded("felt=kari%40example.no&nyheter=on")).await);
    let row = world.row("select mapping_version, l.email, l.consent->>'marketing' from submissions s join leads l on l.id = s.lead_id where s.id = $1", &[&id]).await;
    assert_eq!((row.get(0), row.get(1), row.get(2)), (2, "kari@example.no", "true"));
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_with_the_reason() {
    let world = world().await;
    let large = json!({ "email": "a@b.example", "message": "x".repeat(64 * 1024) });
    let plain = fields(json!({ "email": "a@b.example" })).header("content-type", "text/plain");
    let charset = plain.clone().header("content-type", "Application/JSON; charset=utf-8");
    let many: String = (0..101).map(|n| format!("a{n}=1&")).collect();
    let malformed = [
        (400, "malformed_json", fields(json!(["a"]))),
        (400, "malformed_json", fields(json!(null)).body("{\"email\":")),
        (400, "malformed_form", fields(json!({ "message": "a\0b", "email": "a@b.example" }))),
        (400, "malformed_form", fields(json!({"a": {"b": {"c": {"d": {"e": {"f": 1}}}}}}))),
        (400, "malformed_form", urlencoded("email=a%40b.example&message=a%00b")),
        (400, "malformed_form", urlencoded(&many)),
        (400, "malformed_form", plain.clone().header("content-type", "multipart/form-data; boundary=x")),
        (413, "too_large", fields(large)),
        (415, "unsupported_media_type", plain.clone()),
        (415, "unsupported_media_type", plain.without_header("content-type")),
    ];
    for (status, code, event) in malformed {
        let reply = world.send(event).await;
        assert_eq!((reply.status, reply.code()), (status, code), "{}", reply.json);
    }
    assert_eq!(verdicts(&world).await, [""; 0], "nothing was acknowledged, so nothing is kept");
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
async fn the_forms_user_can_see_nothing_and_touch_nothing() {
    let world = World::seeded().await;
    let tables = "select relname::text from pg_class
                   where relnamespace = 'public'::regnamespace and relkind in ('r', 'v', 'm', 'p')";
    let tables: Vec<String> =
        world.owner().await.query(tables, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    assert!(tables.len() >= 12, "{tables:?}");

    let (intake, _connection) = connect_as_owner(&world.database.url(Login::Intake)).await.unwrap();
    let enter = format!("select scope.enter_intake('{}')", TESLA_OSLO.id);
    for scope in ["select", &enter] {
        let mut statements =
            vec!["insert into leads (source, email) values ('website', 'a@b.example')".to_owned()];
        for table in &tables {
            statements.push(format!("select * from {table}"));
            statements.push(format!("select count(*) from {table}"));
            statements.push(format!("select from {table} for update"));
            statements.push(format!("copy {table} to stdout"));
            statements.push(format!("insert into {table} default values"));
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
}
