//! The log tells what went wrong and what it cost, and nothing about the customer.
use std::time::Duration;

use dev::clerk::{ActiveOrganization, SessionToken};
use dev::people::{KARI, TESLA_OSLO};
use jiff::Timestamp;
use serde_json::{Value, json};
use shared::{Answer, Permission};
use tokio::net::TcpListener;

use crate::support::log::{self, Log};
use crate::support::metrics::{Metrics, NAMESPACE};
use crate::support::{CLERK, ISSUER, LIFETIME, ORIGIN, World, event, kari, token};

/// How long a database that never answers keeps a connection open.
const MUTE: Duration = Duration::from_millis(300);

/// What is logged of a request that runs `sql` as a writer of Tesla Oslo.
async fn logged(sql: &str) -> (u16, Log) {
    let world = World::seeded().await;
    let app = world.app(&create_lead::ROUTE).await;
    let request = event("create-lead").by(&token(&TESLA_OSLO, &KARI, "admin")).request();
    let (log, guard) = Log::capture();
    let response = app.respond(request, async |ctx| {
        ctx.member(&[Permission::LeadsEdit]).await?.query(sql, &[]).await?;
        Ok(Answer::no_content())
    });
    let status = response.await.unwrap().status().as_u16();
    drop(guard);
    (status, log)
}

#[tokio::test]
async fn a_refused_row_is_not_in_the_log() {
    for (sql, told) in [
        ("insert into leads (source, first_name) values ('nowhere', 'Sigurd')", "leads_source_check"),
        ("insert into leads (source, first_name, vehicle_id) values ('api', 'Sigurd', 'Sigurd')", "22P02"),
        (
            "insert into leads (source, first_name) values ('api', repeat('Sigurd', 99))",
            "leads_first_name_check",
        ),
        ("select first_name, 'Sigurd'::text::int from leads", "22P02"),
        // What was wrong with it stands in the DETAIL.
        ("select first_name, '{Sigurd'::text::json from leads", "22P02"),
    ] {
        let (status, log) = logged(sql).await;
        assert_eq!(status, 500, "{sql}: no request can do this, so it is our mistake");
        let lines = log.lines();
        let [line] = lines.as_slice() else { panic!("{lines:?}") };
        assert!(line["cause"].as_str().unwrap().contains(told), "{line}");
        assert_eq!((&line["outcome"], &line["level"]), (&"internal".into(), &"ERROR".into()));
        assert_eq!(Metrics::of(line).unwrap().values["failed"], 1.0);
        assert!(!log.text().contains("Sigurd"), "{}", log.text());
    }
}

fn number(line: &Value, field: &str) -> f64 {
    line[field].as_f64().unwrap_or_else(|| panic!("{field} in {line}"))
}

#[tokio::test]
async fn a_line_has_its_metrics_by_route_and_by_nothing_else() {
    let world = World::seeded().await;
    let (log, guard) = Log::capture();
    for _ in 0..2 {
        world.send(event("list-leads").by(&kari())).await.expect(200);
    }
    world.send(event("list-leads")).await.expect(401);
    drop(guard);
    let lines = log.lines();
    for (line, expected) in lines.iter().zip([[1.0, 1.0], [0.0, 1.0], [0.0, 0.0]]) {
        // CloudWatch charges for a metric in each hour that has it, and no alarm asks for these.
        assert_eq!(line["_aws"], Value::Null);
        assert_eq!(["cold_start", "flushes"].map(|name| number(line, name)), expected, "{line}");
        assert!(number(line, "database_ms") <= number(line, "latency_ms"), "{line}");
        assert_eq!(line["failed"], 0, "a refusal is no failure");
    }
    assert_eq!(lines.len(), 3);
    assert_eq!(number(&lines[2], "database_ms"), 0.0);
    assert_eq!((&lines[2]["outcome"], &lines[2]["status"]), (&"unauthorized".into(), &401.into()));
    assert_eq!(lines[0]["dealership_id"], TESLA_OSLO.id.to_string());

    let (_, log) = logged("select 1 / 0").await;
    let metrics = Metrics::of(&log.lines()[0]).unwrap();
    assert_eq!(json!(metrics.namespaces), json!([NAMESPACE]));
    assert_eq!(json!(metrics.dimensions), json!([{ "route": "create-lead" }]));
    assert_eq!(json!(metrics.values), json!({ "failed": 1.0 }));
}

/// Kari's token, with which somebody of Clerk's dashboard acts for her.
fn impersonated_by(actor: &str) -> String {
    let organization = ActiveOrganization { id: TESLA_OSLO.clerk_org_id, role: "admin", slug: "tesla-oslo" };
    let mut claims = SessionToken {
        issuer: ISSUER,
        authorized_party: ORIGIN,
        user_id: KARI.clerk_user_id,
        session_id: "sess_norvalt_test",
        organization: Some(organization),
        issued_at: Timestamp::now(),
        lifetime: LIFETIME,
    }
    .claims();
    claims["act"] = json!({ "iss": "https://dashboard.clerk.com", "sid": "sess_2", "sub": actor });
    CLERK.sign(&CLERK.header(), &claims)
}

#[tokio::test]
async fn an_impersonation_is_logged_with_the_id_of_who_acts() {
    let world = World::seeded().await;
    for (actor, logged) in [
        ("user_2GIpXOEpVyJw51rkZn9Kmnc6Sxr", "user_2GIpXOEpVyJw51rkZn9Kmnc6Sxr"),
        // An actor token of Clerk's may have any text there: what is no id may be an address.
        ("support@norvalt.example", "unknown"),
        (&"x".repeat(129), "unknown"),
    ] {
        let (log, _guard) = Log::capture();
        world.send(event("get-lead").by(&impersonated_by(actor))).await.expect(200);
        // Refused for its query, after the token was verified.
        let refused = event("list-leads").query("limit=0").by(&impersonated_by(actor));
        world.send(refused).await.expect(400);
        let actors: Vec<Value> = log.lines().iter().map(|line| line["actor"].clone()).collect();
        assert_eq!(actors, [logged, logged], "{actor}");
    }
    let (log, _guard) = Log::capture();
    world.send(event("get-lead").by(&kari())).await.expect(200);
    assert_eq!(log.lines()[0]["actor"], Value::Null, "she acts for herself");
}

#[tokio::test]
async fn the_databases_time_is_the_time_that_a_request_waited_for_it() {
    let (status, log) = logged("select 1 from pg_sleep(0.2)").await;
    assert_eq!(status, 204);
    let line = &log.lines()[0];
    let (database, latency) = (number(line, "database_ms"), number(line, "latency_ms"));
    assert!(database >= 200.0 && database <= latency, "{line}");
    assert_eq!(line["flushes"], 1);
}

#[tokio::test]
async fn a_wait_in_vain_counts_too() {
    // It takes a connection, says nothing, and hangs up.
    let mute = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let world = World::seeded().await.through(mute.local_addr().unwrap().port());
    tokio::spawn(async move {
        while let Ok((connection, _)) = mute.accept().await {
            tokio::time::sleep(MUTE).await;
            drop(connection);
        }
    });
    let (log, _guard) = Log::capture();
    world.send(event("get-lead").by(&kari())).await.expect(503);
    let line = &log.lines()[0];
    assert_eq!(Metrics::of(line).unwrap().values["failed"], 1.0);
    assert_eq!(line["flushes"], 0, "nothing was ever sent");
    // As long as the server kept the connection: it was waited for and for nothing else.
    let (database, latency) = (number(line, "database_ms"), number(line, "latency_ms"));
    assert!(database >= MUTE.as_secs_f64() * 1000.0 && latency - database < 500.0, "{line}");
}

#[test]
fn what_cloudwatch_would_not_take_is_told_from_what_it_takes() {
    let good = json!({
        "_aws": {
            "Timestamp": 1_795_165_200_000_i64,
            "CloudWatchMetrics": [{
                "Namespace": "Norvalt",
                "Dimensions": [["route"]],
                "Metrics": [{ "Name": "latency_ms", "Unit": "Milliseconds" }],
            }],
        },
        "route": "me",
        "latency_ms": 1.5,
    });
    Metrics::of(&good).unwrap();
    let directive = |name: &str| format!("/_aws/CloudWatchMetrics/0/{name}");
    for (at, bad) in [
        ("/_aws".to_owned(), json!({})),
        ("/_aws/Timestamp".to_owned(), json!(1_795_165_200)),
        ("/_aws/Timestamp".to_owned(), json!("2026-11-20T09:00:00Z")),
        (directive("Namespace"), json!("")),
        (directive("Dimensions"), json!([])),
        (directive("Dimensions"), json!(["route"])),
        (directive("Dimensions"), json!([["status"]])),
        (directive("Metrics/0/Unit"), json!("ms")),
        (directive("Metrics/0/Name"), json!("database_ms")),
        (directive("Metrics/0"), json!({ "Name": "latency_ms", "Value": 1 })),
        ("/latency_ms".to_owned(), json!("1.5")),
        ("/latency_ms".to_owned(), Value::Null),
        ("/route".to_owned(), json!(7)),
        ("/route".to_owned(), json!("")),
    ] {
        let mut line = good.clone();
        *line.pointer_mut(&at).unwrap() = bad.clone();
        assert!(Metrics::of(&line).is_err(), "{at} {bad}");
    }
}

/// Every test of this process is under the same watch; this is what it does when somebody is in the log.
#[tokio::test]
async fn the_watch_over_the_log_knows_the_sample_data_every_token_and_every_secret() {
    let world = World::seeded().await;
    for leak in [
        "Kari",
        "kari.nordmann@teslaoslo.example",
        "+4740000107",
        &kari(),
        &world.database.url(shared::Login::Reader),
        crate::support::WEBHOOK_SECRET,
        crate::support::FORM_SECRET,
        crate::support::CLERK_SECRET_KEY,
    ] {
        let line = json!({ "level": "INFO", "cause": format!("why: {leak}.") }).to_string();
        assert!(log::found_in(&line).is_some(), "{line}");
    }
    assert_eq!(log::found_in(r#"{"cause":"Permission, Olav and Karin are none of ours"}"#), None);
}

#[tokio::test]
#[should_panic = "of the request is in the log"]
async fn a_request_whose_own_words_are_logged_fails_its_test() {
    let body = json!({ "source": "phone", "first_name": "Sigurd", "message": "Ring meg etter klokka fire" });
    let request = event("create-lead").by(&kari()).json(body);
    log::watch();
    log::begin();
    tracing::info!(cause = "not read: Ring meg etter klokka fire", "request");
    log::hold_to(request.value(), &Value::Null);
}
