//! What callers see while the database or Clerk is down, and that nothing is lost and nothing has to be restarted.
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use dev::clerk::{Answer, Clerk, SessionToken, TOKEN_SECONDS};
use dev::people::{KARI, TESLA_OSLO};
use dev::proxy::{Pass, Proxy};
use dev::testing::TestCluster;
use jiff::Timestamp;
use serde_json::json;
use shared::clock::Clock;
use shared::config::Settings;
use shared::db::Login;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use uuid::Uuid;

use crate::support::clerk::delivery;
use crate::support::{ISSUER, ORIGIN, Reply, World, endpoint, event, kari, lead};

/// API Gateway gives up on a function after this long.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many leads a seeded database has.
const SEEDED: usize = 20;
/// How often each client asks.
const PACE: Duration = Duration::from_millis(10);

/// Fails unless it is what an outage looks like.
#[track_caller]
fn assert_unavailable(reply: &Reply) {
    let told = (reply.status, reply.code(), reply.header("content-type"), reply.header("retry-after"));
    assert_eq!(told, (503, "unavailable", "application/problem+json", "1"), "{}", reply.json);
}

/// A World on a server of its own that loses nothing that it has acknowledged.
async fn own_server() -> (Arc<TestCluster>, World) {
    let server = TestCluster::start().await.unwrap();
    let world = World::on(server.seeded_database().await.unwrap());
    // A real server's default; the tests' servers are told to be fast instead.
    let durable = format!("alter database {} set synchronous_commit = on", world.database.name);
    world.owner().await.batch_execute(&durable).await.unwrap();
    (Arc::new(server), world)
}

async fn kill(server: &Arc<TestCluster>) {
    let server = server.clone();
    tokio::task::spawn_blocking(move || server.cluster().kill()).await.unwrap().unwrap();
}

async fn restart(server: &Arc<TestCluster>) {
    let server = server.clone();
    tokio::task::spawn_blocking(move || server.cluster().restart()).await.unwrap().unwrap();
}

/// What the clients have seen so far.
#[derive(Clone, Debug, Default)]
struct Seen {
    /// The ids of the leads that were acknowledged.
    acknowledged: BTreeSet<String>,
    lists: usize,
    unavailable: usize,
    /// Since the last 503.
    served_in_a_row: usize,
    slowest: Duration,
}

/// Asks again and again, each write until it is acknowledged, and tells `seen`; ends when nobody listens any more.
async fn client(world: Arc<World>, writes: bool, seen: Arc<watch::Sender<Seen>>) {
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut key = Uuid::new_v4().to_string();
    // A write that may have happened is not left alone.
    let mut unsure = false;
    while seen.receiver_count() > 0 || unsure {
        pace.tick().await;
        let event = match writes {
            true => event("create-lead").by(&kari()).header("idempotency-key", &key),
            false => event("list-leads").by(&kari()),
        };
        let started = Instant::now();
        let reply = timeout(PATIENCE, world.send(event)).await.unwrap();
        if reply.status == 503 {
            assert_unavailable(&reply);
        } else {
            assert_eq!(reply.status, if writes { 201 } else { 200 }, "{}", reply.json);
        }
        unsure = writes && reply.status == 503;
        seen.send_modify(|seen| {
            seen.slowest = seen.slowest.max(started.elapsed());
            match reply.status {
                503 => (seen.unavailable, seen.served_in_a_row) = (seen.unavailable + 1, 0),
                _ => seen.served_in_a_row += 1,
            }
            match reply.status {
                200 => seen.lists += 1,
                201 => {
                    key = Uuid::new_v4().to_string();
                    assert!(seen.acknowledged.insert(reply.json["id"].as_str().unwrap().to_owned()));
                }
                _ => {}
            }
        });
    }
}

/// Waits until the clients have seen what is asked for.
async fn until(seen: &mut watch::Receiver<Seen>, what: &str, asked: impl FnMut(&Seen) -> bool) -> Seen {
    let waited = timeout(Duration::from_secs(60), seen.wait_for(asked)).await;
    waited.unwrap_or_else(|_| panic!("never seen: {what}")).unwrap().clone()
}

#[tokio::test]
async fn a_killed_database_costs_503s_and_no_acknowledged_write_and_then_all_is_well_again() {
    let (server, world) = own_server().await;
    let world = Arc::new(world.with_concurrency(2));
    let (sender, mut seen) = watch::channel(Seen::default());
    let sender = Arc::new(sender);
    let mut clients = JoinSet::new();
    for writes in [true, true, true, true, false, false] {
        clients.spawn(client(world.clone(), writes, sender.clone()));
    }

    for _ in 0..2 {
        let before = seen.borrow().clone();
        let enough = |seen: &Seen| {
            seen.acknowledged.len() >= before.acknowledged.len() + 50 && seen.lists >= before.lists + 20
        };
        until(&mut seen, "a database in full service", enough).await;
        kill(&server).await;
        let before = seen.borrow().unavailable;
        until(&mut seen, "an outage", |seen| seen.unavailable >= before + 50).await;
        restart(&server).await;
        let restarted = Instant::now();
        until(&mut seen, "service again", |seen| seen.served_in_a_row >= 20).await;
        println!("{:?} from the restarted server to 20 answers without a 503", restarted.elapsed());
    }

    drop(seen);
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
    let Seen { acknowledged, slowest, .. } = sender.borrow().clone();
    assert!(slowest < Duration::from_secs(5), "the slowest answer took {slowest:?}");
    let sql = "select id::text from leads";
    let there: BTreeSet<String> =
        world.owner().await.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    let lost = acknowledged.difference(&there).count();
    assert_eq!(lost, 0, "of {} acknowledged leads", acknowledged.len());
    // Each client asks under one key until it is told yes, so whatever a 503 left behind was found again.
    assert_eq!(there.len(), SEEDED + acknowledged.len(), "a lead was made twice");
}

#[tokio::test]
async fn every_route_says_503_while_the_database_is_down_and_serves_when_it_is_up() {
    let (server, world) = own_server().await;
    let (kari, lead) = (kari(), lead(1));
    let requests = || {
        [
            event("health"),
            event("list-leads").by(&kari),
            event("get-lead").by(&kari).id(lead),
            event("list-conversations").by(&kari).id(lead),
            event("create-lead").by(&kari),
            event("patch-lead").by(&kari).id(lead).json(json!({ "company": "Fjord AS" })),
            event("create-conversation")
                .by(&kari)
                .json(json!({ "lead_id": lead, "channel": "note", "body": "Ring." })),
            delivery("msg_1", event("clerk-webhook")),
            event("form-webhook").path("dealership_id", TESLA_OSLO.id),
            event("delete-lead").by(&kari).id(crate::support::lead(2)),
        ]
    };
    // Half of the sandboxes have a connection when it breaks.
    for request in requests().into_iter().step_by(2) {
        let reply = world.send(request).await;
        assert!(reply.status < 300, "{} {}", reply.status, reply.json);
    }
    kill(&server).await;
    for request in requests() {
        assert_unavailable(&world.send(request).await);
    }
    restart(&server).await;
    for request in requests() {
        let function = request.function;
        let reply = world.send(request).await;
        assert!(reply.status < 300, "{function} {} {}", reply.status, reply.json);
    }
}

/// A proxy in front of a seeded world.
async fn behind_a_proxy() -> (Proxy, World) {
    let world = World::seeded().await;
    let proxy = Proxy::before(world.database.port(), Pass::AtOnce).await.unwrap();
    let port = proxy.port();
    (proxy, world.through(port))
}

#[tokio::test]
async fn a_database_that_takes_everything_and_answers_nothing_costs_a_bounded_time() {
    let (proxy, world) = behind_a_proxy().await;
    let (kari, lead) = (kari(), lead(1));
    // The first two have a connection already, the others have to open one.
    let warm = [event("list-leads").by(&kari), event("create-lead").by(&kari)];
    for request in warm.clone() {
        assert!(world.send(request).await.status < 300);
    }
    let cold = [
        event("get-lead").by(&kari).id(lead),
        event("patch-lead").by(&kari).id(lead).json(json!({ "company": "Fjord AS" })),
        event("health"),
        delivery("msg_1", event("clerk-webhook")),
    ];
    proxy.set_silent(true);
    // Nothing can come any more, so the clock may run ahead to the next deadline.
    tokio::time::pause();
    for request in warm.clone().into_iter().chain(cold) {
        let (function, started) = (request.function, Instant::now());
        assert_unavailable(&world.send(request).await);
        assert!(started.elapsed() < PATIENCE, "{function} took {:?}", started.elapsed());
    }

    // A connection on which nobody waited to the end is never used again.
    tokio::time::resume();
    proxy.set_silent(false);
    for request in warm {
        assert!(world.send(request).await.status < 300);
    }
}

#[tokio::test]
async fn a_statement_that_takes_too_long_or_waits_too_long_is_a_503() {
    let world = World::seeded().await;
    let kari = kari();
    let mut owner = world.owner().await;
    let database = &world.database.name;
    for (slow, fast) in [("lock_timeout", "statement_timeout"), ("statement_timeout", "lock_timeout")] {
        for login in [Login::Reader, Login::Writer] {
            let user = login.user();
            let set = format!(
                "alter role {user} in database {database} set {slow} = '300ms';
                 alter role {user} in database {database} set {fast} = '0'"
            );
            owner.batch_execute(&set).await.unwrap();
        }
        let world = World::on(world.database.clone());
        let lock = owner.transaction().await.unwrap();
        lock.batch_execute("lock table leads in access exclusive mode").await.unwrap();
        for request in [event("list-leads").by(&kari), event("create-lead").by(&kari)] {
            assert_unavailable(&world.send(request).await);
        }
        lock.rollback().await.unwrap();
        for request in [event("list-leads").by(&kari), event("create-lead").by(&kari)] {
            assert!(world.send(request).await.status < 300, "after {slow}");
        }
    }
}

#[tokio::test]
async fn no_login_user_may_keep_the_database_busy() {
    let world = World::empty().await;
    for login in Login::ALL {
        let (client, _connection) = shared::db::connect_as_owner(&world.database.url(login)).await.unwrap();
        let settings = "select current_setting('statement_timeout'), current_setting('lock_timeout'),
                               current_setting('idle_in_transaction_session_timeout')";
        let row = client.query_one(settings, &[]).await.unwrap();
        let got: [String; 3] = [row.get(0), row.get(1), row.get(2)];
        assert_eq!(got, ["5s", "2s", "10s"], "{}", login.user());
    }
}

#[tokio::test]
async fn clerks_outage_is_a_503_and_never_the_callers_fault() {
    let world = World::seeded().await;
    let clerk = Arc::new(Clerk::generate().unwrap());
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}/.well-known/jwks.json", listener.local_addr().unwrap());
    let later = watch::Sender::new(0);
    let clock = {
        let minutes = later.subscribe();
        Clock::from_fn(move || Timestamp::now() + jiff::SignedDuration::from_mins(*minutes.borrow()))
    };
    let variables = world.variables().into_iter().filter(|(name, _)| name != "CLERK_JWT_KEY");
    let settings = Settings::from_variables(variables.chain([("CLERK_JWKS_URL".to_owned(), url)]));
    let list_leads = (endpoint("list-leads").start)(settings, clock).await.unwrap();
    let send = async || {
        let kari = clerk.session_token(&SessionToken {
            issuer: ISSUER,
            authorized_party: ORIGIN,
            user_id: KARI.clerk_user_id,
            session_id: "sess_1",
            organization: Some(dev::clerk::ActiveOrganization {
                id: TESLA_OSLO.clerk_org_id,
                role: "admin",
                slug: "tesla-oslo",
            }),
            issued_at: Timestamp::now() + jiff::SignedDuration::from_mins(*later.borrow()),
            lifetime: TOKEN_SECONDS,
        });
        Reply::of(&list_leads, event("list-leads").by(&kari).request()).await
    };
    let pass_a_minute = || later.send_modify(|minutes| *minutes += 1);

    clerk.set_answer(Answer::Fixed(500, String::new()));
    let serving = tokio::spawn(Arc::clone(&clerk).serve(listener));
    assert_unavailable(&send().await);
    for broken in [Answer::Fixed(200, "{}".to_owned()), Answer::Fixed(200, json!({ "keys": [] }).to_string())]
    {
        pass_a_minute();
        clerk.set_answer(broken);
        assert_unavailable(&send().await);
    }
    // What is no token needs no key to be refused.
    let nobody = event("list-leads").request();
    assert_eq!(Reply::of(&list_leads, nobody).await.status, 401);

    pass_a_minute();
    clerk.set_answer(Answer::OwnKey);
    send().await.expect(200);
    // Clerk is gone altogether: the keys that we have are good for hours, and then there are none.
    serving.abort();
    serving.await.unwrap_err();
    later.send_modify(|minutes| *minutes += 60);
    send().await.expect(200);
    later.send_modify(|minutes| *minutes += 6 * 60);
    assert_unavailable(&send().await);
}
