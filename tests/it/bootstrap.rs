//! The binaries themselves, each a process that knows nothing but its environment and the Runtime API.
use std::collections::HashMap;

use ::api_docs::FILES;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dev::invocations::invocations;
use dev::people::TESLA_OSLO;
use dev::proxy::{Pass, Proxy};
use dev::runtime_api::TRACE_ID;
use futures_util::future::join_all;
use serde_json::Value;
use shared::Login;
use tokio::time::timeout;

use crate::support::clerk::delivery;
use crate::support::metrics::{Metrics, NAMESPACE};
use crate::support::sandbox::{PATIENCE, Sandbox, binaries, settings};
use crate::support::{ENDPOINTS, Event, SCHEDULES, World, event, kari, lead, merge_id, submission, until};

/// The event of each function, allowed and about what the seeded world has, and the status it gets.
fn requests() -> HashMap<&'static str, (u16, Event)> {
    let routes = invocations().filter(|invocation| registry::endpoint(invocation.function).is_some());
    let requests = routes.map(|invocation| {
        let event = event(invocation.function);
        let event = match invocation.function {
            "clerk-webhook" => delivery("msg_1", event),
            _ if event.value()["headers"]["authorization"].is_string() => event.by(&kari()),
            _ => event,
        };
        (invocation.function, (invocation.status, event))
    });
    requests.collect()
}

/// What nobody may read in a log: who the customer is, what they wrote, what would let one in.
fn secrets_of(event: &Event, answer: &Value, settings: &HashMap<String, String>) -> Vec<String> {
    let mut secrets: Vec<String> = settings
        .iter()
        .filter(|(name, _)| name.starts_with("DATABASE_URL") || name.contains("SECRET"))
        .map(|(_, value)| value.clone())
        .collect();
    secrets.extend(event.value()["headers"]["authorization"].as_str().map(|token| token[7..].to_owned()));
    let bodies = [event.value()["body"].as_str(), answer["body"].as_str()];
    let mut waiting: Vec<Value> =
        bodies.into_iter().flatten().filter_map(|body| serde_json::from_str(body).ok()).collect();
    while let Some(value) = waiting.pop() {
        match value {
            Value::Array(items) => waiting.extend(items),
            Value::Object(mut fields) => {
                let personal = [
                    "first_name",
                    "last_name",
                    "name",
                    "email",
                    "phone",
                    "phone_e164",
                    "company",
                    "message",
                    "body",
                ];
                let told = personal.iter().filter_map(|name| fields.remove(*name));
                secrets.extend(told.filter_map(|value| Some(value.as_str()?.to_owned())));
                waiting.extend(fields.into_iter().map(|(_, value)| value));
            }
            _ => {}
        }
    }
    secrets.retain(|secret| !secret.is_empty());
    secrets
}

#[tokio::test]
async fn every_binary_answers_its_event_and_says_so_in_one_line_without_personal_data() {
    let world = World::seeded().await;
    let mut settings = settings(&world).await;
    settings.insert("METRICS_NAMESPACE".to_owned(), NAMESPACE.to_owned());
    // Before there are signatures and tokens, which do not live as long as a build may take.
    tokio::task::spawn_blocking(binaries).await.unwrap();
    let mut requests = requests();
    world.merge_as(merge_id(1), lead(9), lead(10)).await;
    for endpoint in ENDPOINTS.iter() {
        let name = endpoint.route.name;
        let (status, event) = requests.remove(name).unwrap_or_else(|| panic!("{name} has no request here"));
        let mut sandbox = Sandbox::start(endpoint.route.name, &settings).await;
        let answer = sandbox.invoke(&event).await;
        assert_eq!(answer["statusCode"], status, "{name}: {answer}");
        // The same sandbox takes the next event, too.
        let nobody = event.clone().header("authorization", "Bearer x").header("svix-signature", "v1,");
        let refused = sandbox.invoke(&nobody).await;
        let open = matches!(name, "health" | "form-preflight" | "form-script" | "form-webhook");
        assert_eq!(refused["statusCode"], if open { status } else { 401 }, "{name}: {refused}");

        let output = sandbox.terminate().await;
        let (log, errors) =
            (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let lines: Vec<&Value> = lines.iter().filter(|line| line["message"] == "request").collect();
        let [line, second] = lines.as_slice() else { panic!("{name} wrote {log}") };
        assert_eq!(line["request_id"], event.value()["requestContext"]["requestId"], "{line}");
        assert_eq!(
            (&line["route"], &line["status"], &line["outcome"]),
            (&name.into(), &status.into(), &"ok".into())
        );
        let values = |name: &str| [line, second].map(|line| line[name].as_f64().unwrap());
        assert_eq!((values("cold_start"), values("failed")), ([1.0, 0.0], [0.0, 0.0]), "{log}");
        let [latency, database] = ["latency_ms", "database_ms"].map(|name| values(name)[0]);
        assert!(latency > database && database > 0.0, "{line}");
        assert_eq!(line["trace_id"], TRACE_ID);
        let dealership = match name {
            "health" | "clerk-webhook" => Value::Null,
            _ => TESLA_OSLO.id.to_string().into(),
        };
        assert_eq!(line["dealership_id"], dealership, "{line}");
        if !open {
            assert_eq!(
                (&second["status"], &second["outcome"]),
                (&401.into(), &"unauthorized".into()),
                "{second}"
            );
        }
        for secret in secrets_of(&event, &answer, &settings) {
            assert!(
                !log.contains(&secret) && !errors.contains(&secret),
                "{name}: {secret:?} in {log}{errors}"
            );
        }
    }
    assert!(requests.is_empty(), "{requests:?} for no function");
}

#[tokio::test]
async fn the_documents_binary_knows_no_setting_and_says_each_request_in_one_line() {
    let mut sandbox = Sandbox::start(FILES.name, &HashMap::new()).await;
    let document = sandbox.invoke(&event("api-docs")).await;
    assert_eq!((&document["statusCode"], &document["isBase64Encoded"]), (&200.into(), &false.into()));
    let body: Value = serde_json::from_str(document["body"].as_str().unwrap()).unwrap();
    assert_eq!(body["openapi"], "3.1.0");
    // API Gateway takes bytes in base64 alone.
    let viewer = sandbox.invoke(&event("api-docs/viewer")).await;
    assert_eq!((&viewer["statusCode"], &viewer["isBase64Encoded"]), (&200.into(), &true.into()));
    assert_eq!(viewer["headers"]["content-encoding"], "gzip");
    let bytes = STANDARD.decode(viewer["body"].as_str().unwrap()).unwrap();
    assert!(bytes.starts_with(&[0x1f, 0x8b]), "no gzip");

    let output = sandbox.terminate().await;
    let log = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let lines: Vec<&Value> = lines.iter().filter(|line| line["message"] == "request").collect();
    let [first, second] = lines.as_slice() else { panic!("it wrote {log}") };
    for (line, cold_start) in [(first, 1.0), (second, 0.0)] {
        let told = (&line["route"], &line["status"], &line["outcome"]);
        assert_eq!(told, (&FILES.name.into(), &200.into(), &"ok".into()), "{line}");
        assert_eq!(line["request_id"], event("api-docs").value()["requestContext"]["requestId"], "{line}");
        assert_eq!((&line["trace_id"], &line["dealership_id"]), (&TRACE_ID.into(), &Value::Null), "{line}");
        let values = ["cold_start", "failed", "flushes"].map(|name| line[name].as_f64().unwrap());
        assert_eq!(values, [cold_start, 0.0, 0.0], "{line}");
    }
}

#[tokio::test]
async fn every_scheduled_binary_answers_its_event_and_says_so_in_one_line_without_personal_data() {
    let world = World::seeded().await;
    let settings = settings(&world).await;
    for schedule in SCHEDULES.iter() {
        let name = schedule.name;
        let renamed = "update users set first_name = 'Kari-Anne' where clerk_user_id = 'user_kari_nordmann'";
        world.owner().await.batch_execute(renamed).await.unwrap();
        // And what a form received is on no lead yet.
        let left = "update submissions set verdict = 'accepted', reasons = '{}' where id = $1";
        world.owner().await.execute(left, &[&submission(1)]).await.unwrap();
        let mut sandbox = Sandbox::start(name, &settings).await;
        let answer = sandbox.invoke(&event(name)).await;
        assert_eq!((&answer["changed"], &answer["dry_run"]), (&1.into(), &false.into()), "{name}: {answer}");
        // The same sandbox takes the next event, and one that is not its own fails the invocation.
        let refused = sandbox.invoke(&event("clerk-reconcile/mistyped")).await;
        assert_eq!(refused["errorType"], name, "{refused}");
        assert!(refused["errorMessage"].as_str().unwrap().contains("unknown field `dryrun`"), "{refused}");

        let output = sandbox.terminate().await;
        let (log, errors) =
            (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let lines: Vec<&Value> = lines.iter().filter(|line| line["message"] == "run").collect();
        let [line, second] = lines.as_slice() else { panic!("{name} wrote {log}") };
        assert_eq!((&line["schedule"], &line["outcome"]), (&name.into(), &"ok".into()), "{line}");
        let values = |name: &str| [line, second].map(|line| line[name].as_f64().unwrap());
        assert_eq!((values("cold_start"), values("failed")), ([1.0, 0.0], [0.0, 1.0]), "{log}");
        assert!(values("flushes")[0] >= 1.0 && values("flushes")[1] == 0.0, "{log}");
        assert_eq!(line["trace_id"], TRACE_ID);
        let counts: Value = serde_json::from_str(line["counts"].as_str().unwrap()).unwrap();
        assert_eq!(counts, answer);
        assert_eq!((&second["outcome"], &second["level"]), (&"failed".into(), &"ERROR".into()), "{second}");
        let metrics = Metrics::of(second).unwrap();
        assert_eq!(metrics.dimensions, [[("schedule".to_owned(), name.to_owned())].into()]);
        assert_eq!(metrics.values, [("failed".to_owned(), 1.0)].into());
        let mut secrets = secrets_of(&event(name), &answer, &settings);
        secrets.extend(["Kari", "Nordmann", "@"].map(str::to_owned));
        for secret in secrets {
            assert!(!log.contains(&secret) && !errors.contains(&secret), "{secret:?} in {log}{errors}");
        }
    }
}

#[tokio::test]
async fn a_missing_setting_is_named_and_nothing_starts() {
    let world = World::empty().await;
    let all = settings(&world).await;
    let mut needed: Vec<_> =
        ENDPOINTS.iter().map(|endpoint| (endpoint.route.name, endpoint.route.login.setting())).collect();
    needed.extend([("get-lead", "CLERK_ISSUER"), ("get-lead", "CLERK_AUTHORIZED_PARTIES")]);
    needed.extend(SCHEDULES.iter().map(|schedule| (schedule.name, schedule.login.setting())));
    needed.extend([("clerk-webhook", "CLERK_WEBHOOK_SECRETS"), ("clerk-reconcile", "CLERK_SECRET_KEY")]);
    needed.extend([("form-script", "FORM_SECRETS"), ("get-form-snippet", "FORM_URL")]);
    for (name, missing) in needed {
        let mut settings = all.clone();
        settings.remove(missing).unwrap();
        let output = Sandbox::start(name, &settings).await.end().await;
        assert!(!output.status.success());
        let errors = String::from_utf8(output.stderr).unwrap();
        let readable = format!("Error: set {missing}, or {missing}_SECRET_ARN to the secret that holds it\n");
        assert_eq!(errors, readable, "{name}");
    }
}

#[tokio::test]
async fn a_user_whom_the_policies_do_not_bind_is_refused_at_the_start() {
    let world = World::empty().await;
    for login in Login::ALL {
        let functions = ENDPOINTS.iter().map(|endpoint| (endpoint.route.name, endpoint.route.login));
        let mut functions = functions.chain(SCHEDULES.iter().map(|schedule| (schedule.name, schedule.login)));
        let (name, _) = functions.find(|(_, theirs)| *theirs == login).unwrap();
        let mut settings = settings(&world).await;
        settings.insert(login.setting().to_owned(), world.database.owner_url.clone());
        let output = Sandbox::start(name, &settings).await.end().await;
        assert!(!output.status.success());
        let errors = String::from_utf8(output.stderr).unwrap();
        let (name, why) = (login.setting(), "the login user could bypass row-level security");
        assert_eq!(errors, format!("Error: {name} cannot be used: {why}\n"));
    }
}

#[tokio::test]
async fn sigterm_ends_a_sandbox_cleanly_and_with_it_its_connections() {
    let world = World::seeded().await;
    let proxy = Proxy::before(world.database.port(), Pass::AtOnce).await.unwrap();
    let world = world.through(proxy.port());
    let settings = settings(&world).await;
    for name in ["list-leads", "create-lead"] {
        let (_, event) = requests().remove(name).unwrap();
        let mut sandbox = Sandbox::start(name, &settings).await;
        sandbox.invoke(&event).await;
        assert_eq!(proxy.open(), 1);
        let output = sandbox.terminate().await;
        assert!(output.status.success(), "{:?}: {}", output.status, String::from_utf8_lossy(&output.stderr));
        timeout(PATIENCE, proxy.all_closed()).await.expect("the connection is still open");
    }
}

/// As many as a Managed Instance may give one sandbox: all of them are in the database before any is answered.
#[tokio::test]
async fn one_sandbox_works_on_as_many_requests_at_once_as_it_is_told() {
    const AT_ONCE: usize = 4;
    let world = World::seeded().await.with_concurrency(AT_ONCE);
    let sandbox = Sandbox::start("list-leads", &settings(&world).await).await;
    let event = event("list-leads").by(&kari());
    let owner = world.owner().await;
    owner.batch_execute("begin; lock table leads").await.unwrap();
    let asked = join_all((0..AT_ONCE).map(|_| sandbox.last_invoke(&event)));
    let let_go = async {
        let waiting = "select count(*) from pg_stat_activity
                        where datname = current_database() and wait_event_type = 'Lock'";
        let watcher = world.owner().await;
        let count = async || watcher.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0);
        until("all requests wait for the lock", async || count().await >= AT_ONCE as i64).await;
        owner.batch_execute("commit").await.unwrap();
    };
    let (answers, ()) = timeout(PATIENCE, async { tokio::join!(asked, let_go) }).await.unwrap();
    for answer in answers {
        assert_eq!(answer["statusCode"], 200, "{answer}");
    }
    // And none of them holds another up for good.
    assert_eq!(sandbox.last_invoke(&event).await["statusCode"], 200);
}
