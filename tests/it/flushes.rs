//! How often a request has to wait for the database, counted on the wire: the time that a dealership far from
//! its database pays again and again.
use std::collections::BTreeSet;

use dev::clerk::ActiveOrganization;
use dev::people::{KARI, TESLA_OSLO};
use dev::proxy::{Pass, Proxy};
use jiff::Timestamp;
use serde_json::{Value, json};
use shared::db::{Login, connect_as_owner};
use uuid::Uuid;

use crate::support::log::Log;
use crate::support::requests::{prepare, requests};
use crate::support::{ENDPOINTS, Event, World, event, kari, nina, session_token};

/// The requests beside each route's own, and their flushes once the sandbox is warm. One is the goal; a second one waits
/// for a result of the first.
const OTHERS: [(&str, u64); 10] = [
    ("clerk-webhook, delivered again", 2),
    ("create-conversation, with a key", 1),
    ("create-conversation, with the same key", 2),
    ("create-lead, with a key", 1),
    ("create-lead, with the same key", 2),
    // What was received before has a name already, and is filed if its verdict is better now.
    ("form-webhook, sent again", 2),
    ("import-leads, commit", 1),
    ("import-leads, commit again", 1),
    ("merge-lead, with a key", 1),
    ("merge-lead, with the same key", 2),
];

/// The text of list-leads' statement is longer.
const LIST_BYTES: usize = 700;

struct Watched {
    world: World,
    proxy: Proxy,
}

impl Watched {
    async fn new() -> Self {
        Self::of(World::seeded().await).await
    }

    async fn of(world: World) -> Self {
        let proxy = Proxy::before(world.database.port(), Pass::AtOnce).await.unwrap();
        Self { world: world.through(proxy.port()), proxy }
    }

    /// The flushes of a request that succeeds.
    async fn flushes(&self, event: Event) -> usize {
        let before = self.proxy.flushes();
        let reply = self.world.send(event.clone()).await;
        assert!(reply.status < 300, "{} {} {}", event.function, reply.status, reply.json);
        self.proxy.flushes() - before
    }
}

#[tokio::test]
async fn a_warm_request_waits_for_the_database_once_or_for_a_result_that_it_needs() {
    all_wait_as_often_as_they_should(Watched::new().await).await;
}

#[tokio::test]
async fn behind_a_pooler_it_waits_no_more_often() {
    all_wait_as_often_as_they_should(Watched::of(World::seeded().await.unprepared()).await).await;
}

async fn all_wait_as_often_as_they_should(watched: Watched) {
    for n in [1, 2] {
        prepare(&watched.world, n).await;
    }
    for (_, request) in requests(1) {
        watched.flushes(request).await;
    }
    let connections = watched.proxy.connections();
    let (log, _guard) = Log::capture();
    let mut counted = Vec::new();
    for (name, request) in requests(2) {
        counted.push((name, watched.flushes(request).await as u64));
    }
    let logged: Vec<_> = log.lines().iter().map(|line| line["flushes"].as_u64().unwrap()).collect();
    let on_the_wire: Vec<_> = counted.iter().map(|(_, flushes)| *flushes).collect();
    assert_eq!(logged, on_the_wire, "each request's line has its flushes");
    counted.sort_unstable();
    let routes = ENDPOINTS.iter().map(|endpoint| (endpoint.route.name, endpoint.route.flushes));
    let mut expected: Vec<_> = routes.chain(OTHERS).collect();
    expected.sort_unstable();
    assert_eq!(counted, expected);
    assert_eq!(watched.proxy.connections(), connections, "a warm request opens no connection");
}

/// Its first request on a connection sends a statement's text, and what prepares it for the next in the same flush.
#[tokio::test]
async fn a_connection_that_can_keep_statements_is_sent_their_text_once() {
    let watched = Watched::new().await;
    let mut sent = Vec::new();
    for _ in 0..3 {
        watched.proxy.take_sent();
        watched.flushes(event("list-leads").by(&kari())).await;
        sent.push(watched.proxy.take_sent().len());
    }
    assert!(sent[0] > 2 * LIST_BYTES && sent[1] < LIST_BYTES && sent[2] == sent[1], "{sent:?}");

    let pooled = Watched::of(World::seeded().await.unprepared()).await;
    pooled.flushes(event("list-leads").by(&kari())).await;
    pooled.proxy.take_sent();
    pooled.flushes(event("list-leads").by(&kari())).await;
    assert!(pooled.proxy.take_sent().len() > LIST_BYTES);
}

#[test]
fn every_route_is_counted() {
    let counted: BTreeSet<_> = requests(1).iter().map(|(_, event)| event.function).collect();
    assert_eq!(counted, ENDPOINTS.iter().map(|endpoint| endpoint.route.name).collect());
}

#[tokio::test]
async fn a_person_whom_only_the_token_knows_costs_two_flushes_more_and_only_once() {
    let watched = Watched::new().await;
    let organization = ActiveOrganization { id: TESLA_OSLO.clerk_org_id, role: "member", slug: "tesla-oslo" };
    let newcomer = session_token("user_newcomer", Some(organization), Timestamp::now());
    watched.flushes(event("list-leads").by(&kari())).await;
    // Refused, provisioned, and then as for everybody.
    let (log, _guard) = Log::capture();
    assert_eq!(watched.flushes(event("list-leads").by(&newcomer)).await, 3);
    assert_eq!(log.lines()[0]["flushes"], 3);
    assert_eq!(watched.flushes(event("list-leads").by(&newcomer)).await, 1);
}

#[tokio::test]
async fn a_refused_request_never_reaches_the_database() {
    let watched = Watched::new().await;
    let (kari, nina) = (kari(), nina());
    let nowhere = session_token(KARI.clerk_user_id, None, Timestamp::now());
    let form = |name| event(name).path("dealership_id", TESLA_OSLO.id);
    let refused = [
        (401, event("list-leads")),
        (401, event("list-leads").without_header("authorization")),
        (401, event("clerk-webhook")),
        (403, event("list-leads").by(&nowhere)),
        (403, event("create-lead").by(&nina)),
        (403, event("delete-lead").by(&nina)),
        (403, event("merge-lead").by(&nina)),
        (403, event("undo-merge").by(&nina)),
        (403, event("export-leads").by(&nina)),
        (403, event("import-leads").by(&nina)),
        (400, event("export-leads").by(&kari).query("limit=5")),
        (409, event("import-leads").by(&kari).query("commit=another")),
        (413, event("import-leads").by(&kari).body(&"a".repeat(4 * 1024 * 1024 + 1))),
        (415, event("import-leads").by(&kari).header("content-type", "application/json")),
        (422, event("import-leads").by(&kari).body("Farge\nrød\n")),
        (400, event("list-leads/bad-cursor").by(&kari)),
        (400, event("list-leads/bad-limit").by(&kari)),
        (400, event("list-leads/unknown-parameter").by(&kari)),
        (400, event("get-lead/not-a-uuid").by(&kari)),
        (400, event("create-lead/not-json").by(&kari)),
        (400, event("create-lead").by(&kari).header("idempotency-key", " ")),
        (415, event("create-lead/wrong-content-type").by(&kari)),
        (413, event("create-lead").by(&kari).body(&" ".repeat(64 * 1024 + 1))),
        (422, event("create-lead/three-faults").by(&kari)),
        (422, event("merge-lead/into-itself").by(&kari)),
        (422, event("patch-lead/bad-email").by(&kari)),
        (422, event("create-conversation/unknown-channel").by(&kari)),
        (415, form("form-webhook/unknown-type")),
        (400, event("form-preflight").path("dealership_id", "tesla-oslo")),
        (400, event("form-script").path("dealership_id", "tesla-oslo")),
        (401, event("get-dealership")),
        (403, event("get-dealership").by(&nina)),
        (403, event("get-form-snippet").by(&nina)),
        (400, event("get-form-snippet").by(&kari).query("lang=sv")),
        (403, event("patch-dealership").by(&nina)),
        (422, event("patch-dealership/three-bad-origins").by(&kari)),
        (422, event("patch-dealership/captcha").by(&kari)),
    ];
    for (status, event) in refused {
        watched.world.send(event).await.expect(status);
    }
    assert_eq!((watched.proxy.connections(), watched.proxy.flushes()), (0, 0));
}

#[tokio::test]
async fn the_counter_tells_waiting_from_sending_ahead() {
    let world = World::empty().await;
    let proxy = Proxy::before(world.database.port(), Pass::AtOnce).await.unwrap();
    let world = world.through(proxy.port());
    let reader = Login::Reader.setting();
    let (_, url) = world.variables().into_iter().find(|(name, _)| name == reader).unwrap();
    let (client, _connection) = connect_as_owner(&url).await.unwrap();
    assert!(proxy.connections() == 1 && proxy.flushes() >= 2, "logging in takes more than one flush");

    let before = proxy.flushes();
    for statement in ["begin", "select 1", "select 2", "commit"] {
        client.batch_execute(statement).await.unwrap();
    }
    assert_eq!(proxy.flushes() - before, 4);

    let before = proxy.flushes();
    let (begin, first, second, commit) = tokio::join!(
        client.batch_execute("begin"),
        client.batch_execute("select 1"),
        client.batch_execute("select 2"),
        client.batch_execute("commit"),
    );
    begin.and(first).and(second).and(commit).unwrap();
    assert_eq!(proxy.flushes() - before, 1);
}

/// Whoever sends junk learns nothing from how long the answer takes: it waits for the database as often.
#[tokio::test]
async fn accepted_held_and_spam_cost_the_same() {
    let watched = Watched::new().await;
    let form = |extra: &str| {
        let body = format!("email={}%40b.example{extra}", Uuid::new_v4());
        let form = event("form-webhook/urlencoded").path("dealership_id", TESLA_OSLO.id);
        form.header("accept", "application/json").body(&body)
    };
    watched.flushes(form("")).await;
    for extra in ["", "&_gotcha=x", "&_t=1.x", "&email="] {
        assert_eq!(watched.flushes(form(extra)).await, 1, "{extra}");
    }
    let held = form("").body("navn=Kari");
    assert_eq!(watched.flushes(held).await, 1);
}

/// A sandbox assumes that a dealership's mapping has not changed, and the database answers when it has.
#[tokio::test]
async fn a_mapping_of_ones_own_costs_a_second_flush_once_and_is_never_an_old_one() {
    let watched = Watched::new().await;
    let post = async || {
        let body = format!("felt={}%40b.example", Uuid::new_v4());
        let form = event("form-webhook/urlencoded").path("dealership_id", TESLA_OSLO.id).body(&body);
        let flushes = watched.flushes(form.header("accept", "application/json")).await;
        let sql = "select s.mapping_version, s.verdict, l.email is not null from submissions s
                     left join leads l on l.id = s.lead_id order by s.received_at desc limit 1";
        let row = watched.world.row(sql, &[]).await;
        let (version, verdict, has_email): (i32, String, bool) = (row.get(0), row.get(1), row.get(2));
        (flushes, version, verdict, has_email)
    };
    let remap = async |version: i32, fields: Value| {
        let sql = "insert into form_mappings (dealership_id, version, fields) values ($1, $2, $3)";
        watched.world.owner().await.execute(sql, &[&TESLA_OSLO.id, &version, &fields]).await.unwrap();
    };
    let held = |flushes, version| (flushes, version, "held".to_owned(), false);
    let accepted = |flushes, version| (flushes, version, "accepted".to_owned(), true);
    post().await;
    assert_eq!(post().await, held(1, 0));
    remap(1, json!({ "felt": "email" })).await;
    assert_eq!(post().await, accepted(2, 1));
    assert_eq!(post().await, accepted(1, 1));
    remap(2, json!({ "felt": "ignored" })).await;
    assert_eq!(post().await, held(2, 2));
    assert_eq!(post().await, held(1, 2));
}
