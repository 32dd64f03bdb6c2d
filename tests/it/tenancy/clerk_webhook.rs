//! `POST /webhooks/clerk`: which messages are accepted, and what the database has after each.
mod clients;
mod order;
mod people;
mod purge;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use clerk_webhook::{Config, Secrets};
use dev::clerk::ActiveOrganization;
use dev::people::{Dealership, KARI, NINA, Person, TESLA_OSLO};
use dev::proxy::{Pass, Proxy};
use dev::svix;
use jiff::Timestamp;
use lambda_http::http::{HeaderName, HeaderValue};
use lambda_http::{Body, Request};
use serde_json::{Value, json};
use shared::App;
use shared::clock::Clock;
use shared::config::Settings;

use crate::support::clerk::{SAMPLES, delivery};
use crate::support::{Event, Reply, WEBHOOK_SECRET, World, event, kari, nina, session_token, token};

/// The public test vectors of Svix: secret, id, timestamp, body, signature.
const VECTORS: [[&str; 5]; 3] = [
    [
        "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
        "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
        "1649367553",
        r#"{"email":"test@example.com","username":"test_user"}"#,
        "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
    ],
    [
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "1614265330",
        r#"{"test": 2432232314}"#,
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    ],
    [
        "whsec_plJ3nmyCDGBKInavdOK15jsl",
        "msg_loFOjxBNrRLzqYUf",
        "1731705121",
        r#"{"event_type":"ping","data":{"success":true}}"#,
        "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=",
    ],
];
/// A secret that is not ours; its base64 needs no padding.
const OTHER_SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
/// The time of the signature tests: seconds since 1970.
const NOW: i64 = 1_795_000_000;
/// The people and things of Clerk's samples.
const ACME: &str = "org_29w9IfBrPmcpi0IeBVaKtA7R94W";
const FOUNDER: &str = "user_29w83sxmDNGwOuEthce5gg56FcC";

/// A request that would be accepted, for a row of a table to edit before it is sent.
struct Message {
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

type Edit = fn(&mut Message);

impl Message {
    fn new() -> Self {
        let mut message = Self { headers: Vec::new(), body: event("clerk-webhook").text().into() };
        message.sign(WEBHOOK_SECRET, "msg_1", NOW);
        message
    }

    fn sign(&mut self, secret: &str, id: &str, timestamp: impl ToString) {
        let timestamp = timestamp.to_string();
        let signature = svix::sign(secret, id, &timestamp, &self.body).unwrap();
        self.headers = [("svix-id", id), ("svix-timestamp", &timestamp), ("svix-signature", &signature)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
    }

    fn get(&self, name: &str) -> &str {
        self.headers.iter().find(|(there, _)| there == name).map(|(_, value)| value.as_str()).unwrap()
    }

    fn set(&mut self, name: &str, value: &str) {
        self.headers.iter_mut().find(|(there, _)| there == name).unwrap().1 = value.to_owned();
    }

    fn add(&mut self, name: &str, value: &str) {
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    fn remove(&mut self, name: &str) {
        let count = self.headers.len();
        self.headers.retain(|(there, _)| there != name);
        assert!(self.headers.len() < count);
    }

    fn copy(&mut self, from: &str, to: &str) {
        let value = self.get(from).to_owned();
        self.add(to, &value);
    }

    /// Puts the other family's name on a header.
    fn rename(&mut self, from: &str, to: &str) {
        self.copy(from, to);
        self.remove(from);
    }

    fn rename_all(&mut self) {
        for part in ["id", "timestamp", "signature"] {
            self.rename(&format!("svix-{part}"), &format!("webhook-{part}"));
        }
    }

    /// Puts other signatures where the good one was.
    fn signatures(&mut self, edit: impl FnOnce(&str) -> String) {
        self.set("svix-signature", &edit(self.get("svix-signature")));
    }

    fn request(self) -> Request {
        let mut request = event("clerk-webhook").request();
        for part in ["svix-id", "svix-timestamp", "svix-signature"] {
            request.headers_mut().remove(part);
        }
        for (name, value) in self.headers {
            let name: HeaderName = name.parse().unwrap();
            request.headers_mut().append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        *request.body_mut() = Body::from(self.body);
        request
    }
}

/// The function with a clock of our own, and a proxy that counts its connections to the database.
struct Bench {
    proxy: Proxy,
    app: App,
    instance_id: Option<String>,
    world: World,
}

impl Bench {
    async fn at(now: i64) -> Self {
        let world = World::empty().await;
        let proxy = Proxy::before(world.database.port(), Pass::AtOnce).await.unwrap();
        let world = world.through(proxy.port());
        let clock = Clock::from_fn(move || Timestamp::from_second(now).unwrap());
        let settings = Settings::from_variables(world.variables());
        let app = App::new(&clerk_webhook::ROUTE, settings, clock).await.unwrap();
        Self { proxy, app, instance_id: None, world }
    }

    async fn reply(&self, secrets: &str, request: Request) -> Reply {
        let config =
            Config { secrets: Secrets::parse(secrets).unwrap(), instance_id: self.instance_id.clone() };
        let handle = async |ctx: &shared::Ctx<'_>| clerk_webhook::handle(ctx, &config).await;
        self.app.respond(request, handle).await.unwrap().into()
    }

    async fn send(&self, secrets: &str, request: Request) -> (u16, String) {
        let mut reply = self.reply(secrets, request).await;
        // Two refusals may differ in nothing else.
        reply.json.as_object_mut().unwrap().remove("request_id");
        (reply.status, reply.json.to_string())
    }

    /// The status of each message, under our secret.
    async fn statuses<const N: usize>(&self, rows: [(&'static str, Edit); N]) -> Vec<(&'static str, u16)> {
        let mut statuses = Vec::new();
        for (name, edit) in rows {
            let mut message = Message::new();
            edit(&mut message);
            statuses.push((name, self.send(WEBHOOK_SECRET, message.request()).await.0));
        }
        statuses
    }
}

/// Fails with every row that got another status.
#[track_caller]
fn assert_all(statuses: Vec<(&str, u16)>, expected: u16) {
    let wrong: Vec<_> = statuses.into_iter().filter(|(_, status)| *status != expected).collect();
    assert!(wrong.is_empty(), "not {expected}: {wrong:#?}");
}

#[tokio::test]
async fn the_public_vectors_are_accepted_at_their_time_and_refused_after_it() {
    for [secret, id, timestamp, body, signature] in VECTORS {
        assert_eq!(svix::sign(secret, id, timestamp, body.as_bytes()).unwrap(), signature);
        let seconds: i64 = timestamp.parse().unwrap();
        // A good signature over a body that is no event of Clerk's.
        for (now, status) in
            [(seconds, 200), (seconds + 300, 200), (seconds - 300, 200), (seconds + 301, 401)]
        {
            let mut message = Message::new();
            message.body = body.into();
            message.set("svix-id", id);
            message.set("svix-timestamp", timestamp);
            message.set("svix-signature", signature);
            let bench = Bench::at(now).await;
            let (got, body) = bench.send(secret, message.request()).await;
            assert_eq!(got, status, "{id} at {now}: {body}");
            assert_eq!(body.contains("malformed"), status == 200);
        }
    }
}

#[tokio::test]
async fn a_good_signature_is_accepted_in_every_form_that_svix_sends() {
    let bench = Bench::at(NOW).await;
    let rows: [(&str, Edit); 13] = [
        ("as it is", |_| ()),
        ("the names of the specification", Message::rename_all),
        ("both families, both right", |m| {
            for part in ["id", "timestamp", "signature"] {
                m.copy(&format!("svix-{part}"), &format!("webhook-{part}"));
            }
        }),
        ("after a wrong one", |m| m.signatures(|good| format!("v1,{} {good}", "A".repeat(43) + "="))),
        ("before a wrong one", |m| m.signatures(|good| format!("{good} v1,bm8="))),
        ("among other versions", |m| m.signatures(|good| format!("v2,bm8= v1a,bm8= {good}"))),
        ("among what is no signature", |m| m.signatures(|good| format!("v1, v1 ,  v1,% {good}"))),
        ("299 s old", |m| m.sign(WEBHOOK_SECRET, "msg_1", NOW - 299)),
        ("300 s old", |m| m.sign(WEBHOOK_SECRET, "msg_1", NOW - 300)),
        ("299 s ahead", |m| m.sign(WEBHOOK_SECRET, "msg_1", NOW + 299)),
        ("300 s ahead", |m| m.sign(WEBHOOK_SECRET, "msg_1", NOW + 300)),
        ("an event of a kind that will be", |m| {
            m.body = br#"{"type":"moon.landed","timestamp":1,"data":{}}"#.into();
            m.sign(WEBHOOK_SECRET, "msg_2", NOW);
        }),
        ("other spaces, signed", |m| {
            let pretty: Value = serde_json::from_slice(&m.body).unwrap();
            m.body = serde_json::to_vec_pretty(&pretty).unwrap();
            m.sign(WEBHOOK_SECRET, "msg_3", NOW);
        }),
    ];
    assert_all(bench.statuses(rows).await, 200);
    assert_eq!(
        bench.proxy.connections(),
        1,
        "the proxy counts the connections that the next test expects none of"
    );
}

#[tokio::test]
async fn a_bad_signature_is_refused_without_touching_the_database() {
    let bench = Bench::at(NOW).await;
    let rows: [(&str, Edit); 47] = [
        ("no id", |m| m.remove("svix-id")),
        ("no timestamp", |m| m.remove("svix-timestamp")),
        ("no signature", |m| m.remove("svix-signature")),
        ("no header at all", |m| m.headers.clear()),
        ("id blank", |m| m.set("svix-id", " ")),
        ("timestamp blank", |m| m.set("svix-timestamp", "")),
        ("signature blank", |m| m.set("svix-signature", "  ")),
        ("id blank, signed", |m| m.sign(WEBHOOK_SECRET, "", NOW)),
        ("id twice", |m| m.add("svix-id", "msg_1")),
        ("timestamp twice", |m| m.add("svix-timestamp", &NOW.to_string())),
        ("signature twice", |m| m.copy("svix-signature", "svix-signature")),
        ("id twice, as the gateway joins it", |m| m.set("svix-id", "msg_1,msg_1")),
        ("timestamp twice, as the gateway joins it", |m| m.set("svix-timestamp", &format!("{NOW},{NOW}"))),
        ("id under the other name", |m| m.rename("svix-id", "webhook-id")),
        ("timestamp under the other name", |m| m.rename("svix-timestamp", "webhook-timestamp")),
        ("signature under the other name", |m| m.rename("svix-signature", "webhook-signature")),
        ("a wrong family beside a right one", |m| {
            let good = m.get("svix-signature").to_owned();
            m.set("svix-signature", "v1,bm8=");
            m.add("webhook-id", "msg_1");
            m.add("webhook-timestamp", &NOW.to_string());
            m.add("webhook-signature", &good);
        }),
        // RUSTSEC-2024-0010: an empty signature equalled the start of every other.
        ("v1, and nothing", |m| m.set("svix-signature", "v1,")),
        ("v1, and nothing, twice", |m| m.set("svix-signature", "v1, v1,")),
        ("v1 alone", |m| m.set("svix-signature", "v1")),
        ("without a version", |m| m.signatures(|good| good[3..].to_owned())),
        ("its first 8 characters", |m| m.signatures(|good| good[..11].to_owned())),
        ("its first 31 bytes", |m| m.signatures(|good| format!("{}==", &good[..good.len() - 2]))),
        ("a byte more", |m| m.signatures(|good| format!("{}AA==", &good[..good.len() - 1]))),
        ("version 2", |m| m.signatures(|good| good.replace("v1,", "v2,"))),
        ("version 1a", |m| m.signatures(|good| good.replace("v1,", "v1a,"))),
        ("version V1", |m| m.signatures(|good| good.replace("v1,", "V1,"))),
        ("several, none right", |m| m.set("svix-signature", "v1,bm8= v1,bm8= v2,bm8=")),
        ("in hexadecimal", |m| m.set("svix-signature", &format!("v1,{}", "0a".repeat(32)))),
        ("another secret's", |m| m.sign(OTHER_SECRET, "msg_1", NOW)),
        ("another id's", |m| m.set("svix-id", "msg_2")),
        ("another second's", |m| m.set("svix-timestamp", &(NOW - 1).to_string())),
        ("301 s old", |m| m.sign(WEBHOOK_SECRET, "msg_1", NOW - 301)),
        ("301 s ahead", |m| m.sign(WEBHOOK_SECRET, "msg_1", NOW + 301)),
        ("a timestamp of 0", |m| m.sign(WEBHOOK_SECRET, "msg_1", 0)),
        ("a negative timestamp", |m| m.sign(WEBHOOK_SECRET, "msg_1", -NOW)),
        ("no number", |m| m.sign(WEBHOOK_SECRET, "msg_1", "now")),
        ("half a second", |m| m.sign(WEBHOOK_SECRET, "msg_1", format!("{NOW}.5"))),
        ("milliseconds", |m| m.sign(WEBHOOK_SECRET, "msg_1", NOW * 1000)),
        ("the largest number", |m| m.sign(WEBHOOK_SECRET, "msg_1", i64::MAX)),
        ("the smallest number", |m| m.sign(WEBHOOK_SECRET, "msg_1", i64::MIN)),
        ("a larger number", |m| m.sign(WEBHOOK_SECRET, "msg_1", u128::MAX)),
        // `a.1` at 2 and `a` at 1.2 sign the same bytes.
        ("an id with a dot", |m| m.sign(WEBHOOK_SECRET, "msg.1", NOW)),
        ("one byte changed", |m| *m.body.last_mut().unwrap() ^= 1),
        ("a space more", |m| m.body.push(b' ')),
        ("no body", |m| m.body.clear()),
        ("no text", |m| m.body = vec![0xff, 0xfe]),
    ];
    let good = Message::new().request();
    assert_all(bench.statuses(rows).await, 401);
    assert_eq!(bench.proxy.connections(), 0);
    assert_eq!(bench.send(WEBHOOK_SECRET, good).await.0, 200);
    assert_eq!(bench.proxy.connections(), 1);
}

#[tokio::test]
async fn every_refusal_gives_the_same_answer() {
    let bench = Bench::at(NOW).await;
    let mut answers = Vec::new();
    let edits: [Edit; 4] = [
        |m| m.headers.clear(),
        |m| m.sign(OTHER_SECRET, "msg_1", NOW),
        |m| m.sign(WEBHOOK_SECRET, "msg_1", NOW - 301),
        |m| m.sign(WEBHOOK_SECRET, "msg.1", NOW),
    ];
    for edit in edits {
        let mut message = Message::new();
        edit(&mut message);
        answers.push(bench.send(WEBHOOK_SECRET, message.request()).await);
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:#?}");
    let reply = bench.reply(OTHER_SECRET, Message::new().request()).await.expect(401);
    assert!(!reply.headers.contains_key("www-authenticate"), "Svix has no token to offer");
}

#[tokio::test]
async fn any_secret_of_the_list_is_good_and_padding_does_not_matter() {
    let bench = Bench::at(NOW).await;
    let bytes = STANDARD.decode(&WEBHOOK_SECRET[6..]).unwrap();
    let unpadded = STANDARD_NO_PAD.encode(bytes);
    assert!(WEBHOOK_SECRET.ends_with('=') && !unpadded.ends_with('='));
    let lists = [
        format!("{OTHER_SECRET},{WEBHOOK_SECRET}"),
        format!("{WEBHOOK_SECRET},{OTHER_SECRET}"),
        format!(" {OTHER_SECRET} , {WEBHOOK_SECRET} "),
        format!("whsec_{unpadded}"),
        unpadded,
    ];
    for list in lists {
        assert_eq!(bench.send(&list, Message::new().request()).await.0, 200, "{list}");
    }
    assert_eq!(bench.send(OTHER_SECRET, Message::new().request()).await.0, 401);
}

#[test]
fn a_list_with_a_secret_that_is_none_is_no_setting() {
    let good = OTHER_SECRET;
    let lists = [
        "",
        " ",
        ",",
        "whsec_",
        "whsec_,",
        "whsec_%%%",
        &format!("{good},"),
        &format!("{good},whsec_"),
        &format!("{good};{good}"),
    ];
    for list in lists {
        let error = Secrets::parse(list).err().unwrap_or_else(|| panic!("{list:?} is taken"));
        assert!(error.to_string().contains("CLERK_WEBHOOK_SECRETS"), "{error}");
    }
}

#[tokio::test]
async fn a_signed_message_that_is_no_event_is_kept_and_need_not_come_again() {
    let bench = Bench::at(NOW).await;
    let event =
        |r#type: &str, data: Value| json!({ "type": r#type, "timestamp": 1, "data": data }).to_string();
    let membership = json!({ "id": "orgmem_1", "organization": { "id": ACME } });
    let bodies: [(&str, Option<&str>, Vec<u8>); 13] = [
        ("no JSON", None, b"{".into()),
        ("no text", None, vec![0xff, 0xfe]),
        ("nothing", None, vec![]),
        ("a NUL", None, vec![0]),
        ("a list", None, b"[]".into()),
        ("no type", None, br#"{"timestamp":1,"data":{}}"#.into()),
        ("no timestamp", Some("user.created"), br#"{"type":"user.created","data":{}}"#.into()),
        ("before 1970", Some("a"), br#"{"type":"a","timestamp":-1,"data":{}}"#.into()),
        ("after all time", Some("a"), br#"{"type":"a","timestamp":9223372036854775807,"data":{}}"#.into()),
        ("no data", Some("user.created"), br#"{"type":"user.created","timestamp":1}"#.into()),
        ("no id", Some("organization.deleted"), event("organization.deleted", json!({})).into()),
        ("a strange id", Some("user.deleted"), event("user.deleted", json!({ "id": ACME })).into()),
        (
            "nobody",
            Some("organizationMembership.created"),
            event("organizationMembership.created", membership).into(),
        ),
    ];
    for (number, (name, event_type, body)) in bodies.into_iter().enumerate() {
        let mut message = Message::new();
        message.body = body.clone();
        message.sign(WEBHOOK_SECRET, &format!("msg_{number}"), NOW);
        let again = Message { headers: message.headers.clone(), body: message.body.clone() };
        let reply = bench.reply(WEBHOOK_SECRET, message.request()).await.expect(200);
        assert_eq!(reply.header("webhook-delivery"), "abort-message", "{name}");
        assert_eq!(
            bench.send(WEBHOOK_SECRET, again.request()).await,
            (200, r#"{"status":"duplicate"}"#.to_owned())
        );

        let sql = "select event_type, body, outcome, payload from webhook_inbox where message_id = $1";
        let row = bench.world.row(sql, &[&format!("msg_{number}")]).await;
        assert_eq!(row.get::<_, Option<&str>>(0), event_type, "{name}");
        assert_eq!(row.get::<_, &str>(1), String::from_utf8_lossy(&body).replace('\0', "\u{fffd}"), "{name}");
        assert_eq!(row.get::<_, &str>(2), "malformed", "{name}");
        assert_eq!(row.get::<_, Option<Value>>(3), serde_json::from_slice(&body).ok(), "{name}");
    }
    assert_eq!(state(&bench.world).await, [""; 0]);
    let reply = bench.reply(WEBHOOK_SECRET, Message::new().request()).await.expect(200);
    assert_eq!(reply.header("webhook-delivery"), "", "only what can never be applied");
    let query = documented_query();
    let found: Vec<String> =
        bench.world.owner().await.query(&query, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(found.len(), 13);
}

/// The statement that docs/OPERATE.md names for malformed messages.
fn documented_query() -> String {
    let page = std::fs::read_to_string(dev::workspace().join("docs/OPERATE.md")).unwrap();
    let start = page.find("select message_id").unwrap();
    page[start..].split_once(';').unwrap().0.to_owned()
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_before_anything_else() {
    let bench = Bench::at(NOW).await;
    for signed in [true, false] {
        let mut large = Message::new();
        large.body = vec![b' '; 1024 * 1024];
        if signed {
            large.sign(WEBHOOK_SECRET, "msg_1", NOW);
        } else {
            large.headers.clear();
        }
        assert_eq!(bench.send(WEBHOOK_SECRET, large.request()).await.0, 413);
    }
    assert_eq!(bench.proxy.connections(), 0);
}

#[tokio::test]
async fn another_instances_event_is_recorded_and_changes_nothing() {
    let mut bench = Bench::at(NOW).await;
    for (number, (ours, theirs, outcome)) in [
        (Some("ins_1"), Some("ins_2"), "ignored"),
        (Some("ins_1"), Some("ins_1"), "applied"),
        (Some("ins_1"), None, "applied"),
        (None, Some("ins_2"), "applied"),
    ]
    .into_iter()
    .enumerate()
    {
        bench.instance_id = ours.map(str::to_owned);
        let (id, org) = (format!("msg_{number}"), format!("org_{number}"));
        let mut body: Value = serde_json::from_slice(&Message::new().body).unwrap();
        body["instance_id"] = json!(theirs);
        body["data"]["id"] = json!(org);
        let mut message = Message { headers: Vec::new(), body: body.to_string().into() };
        message.sign(WEBHOOK_SECRET, &id, NOW);
        bench.reply(WEBHOOK_SECRET, message.request()).await.expect(200);
        let got = bench.world.row("select outcome from webhook_inbox where message_id = $1", &[&id]).await;
        assert_eq!(got.get::<_, &str>(0), outcome, "{ours:?} {theirs:?}");
        let made = bench.world.row("select count(*) from dealerships where clerk_org_id = $1", &[&org]).await;
        assert_eq!(made.get::<_, i64>(0), i64::from(outcome == "applied"));
    }
}

/// Everything that Clerk's events are about, one line each.
async fn state(world: &World) -> Vec<String> {
    let sql = "
        select concat_ws(' ', clerk_org_id, name, slug, case when deleted_at is not null then 'deleted' end) from dealerships
        union all
        select concat_ws(' ', clerk_user_id, first_name, last_name, email, case when deleted_at is not null then 'deleted' end)
          from users
        union all
        select concat_ws(' ', coalesce(clerk_membership_id, 'unconfirmed'), clerk_org_id, clerk_user_id, role,
                         case when removed_at is not null then 'removed' end)
          from memberships m join dealerships d on d.id = dealership_id join users u on u.id = user_id
        order by 1";
    world.owner().await.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// One of Clerk's sample events with changes.
fn sample(name: &'static str, edit: impl FnOnce(&mut Value)) -> Event {
    let event = event(name);
    let mut body: Value = serde_json::from_str(event.text()).unwrap();
    edit(&mut body);
    event.json(body)
}

/// A membership event about a seeded dealership and person.
fn membership(
    name: &'static str,
    id: &str,
    dealership: &Dealership,
    person: &Person,
    role: &str,
    at: Timestamp,
) -> Event {
    sample(name, |body| {
        body["timestamp"] = json!(at.as_millisecond());
        let data = &mut body["data"];
        data["id"] = json!(id);
        data["role"] = json!(role);
        data["organization"]["id"] = json!(dealership.clerk_org_id);
        data["public_user_data"]["user_id"] = json!(person.clerk_user_id);
    })
}

const CREATED: &str = "clerk-webhook/organizationMembership.created";
const UPDATED: &str = "clerk-webhook/organizationMembership.updated";
const DELETED: &str = "clerk-webhook/organizationMembership.deleted";

/// Delivers events in this order, each under an id of its own.
async fn deliver(world: &World, events: impl IntoIterator<Item = Event>) {
    for event in events {
        let id = format!("msg_{}", uuid::Uuid::new_v4());
        assert_eq!(world.send(delivery(&id, event)).await.expect(200).json, json!({ "status": "received" }));
    }
}

async fn list_leads(world: &World, token: &str) -> Reply {
    world.send(event("list-leads").by(token)).await
}

#[tokio::test]
async fn each_sample_of_clerks_changes_what_it_says_however_often_it_comes() {
    const PERSON: &str = "user_29w83sxmDNGwOuEthce5gg56FcC Example";
    const SECOND: &str = "user_29wACSk1DjeUCwsS6SbbgIgilMy";
    const ORGANIZATION: &str = "org_29w9IfBrPmcpi0IeBVaKtA7R94W Acme Inc acme-inc";
    const MEMBERSHIP: &str = "orgmem_29w9IptNja3mP8GDXpquBwN2qR9 org_29w9IfBrPmcpi0IeBVaKtA7R94W user_29w83sxmDNGwOuEthce5gg56FcC admin";
    const SECOND_MEMBERSHIP: &str = "orgmem_29wAbjiJs6aZuPq7AzmkW9dwmyl org_29w9IfBrPmcpi0IeBVaKtA7R94W user_29wACSk1DjeUCwsS6SbbgIgilMy sales_rep";
    // The lines that each sample adds, or replaces by their first word.
    let changes: [(&str, &[String]); 9] = [
        (SAMPLES[0], &[format!("{PERSON} Example example@example.org")]),
        (SAMPLES[1], &[format!("{PERSON} example@example.org")]),
        (SAMPLES[2], &[ORGANIZATION.to_owned()]),
        (SAMPLES[3], &[MEMBERSHIP.to_owned()]),
        (SAMPLES[4], &[]),
        (SAMPLES[5], &[SECOND.to_owned(), SECOND_MEMBERSHIP.to_owned()]),
        (SAMPLES[6], &[format!("{SECOND_MEMBERSHIP} removed")]),
        (SAMPLES[7], &["user_29wBMCtzATuFJut8jO2VNTVekS4 deleted".to_owned()]),
        (SAMPLES[8], &[format!("{ORGANIZATION} deleted")]),
    ];

    let world = World::empty().await;
    let mut expected = std::collections::BTreeMap::new();
    for (number, (name, lines)) in changes.into_iter().enumerate() {
        expected.extend(lines.iter().map(|line| (line.split(' ').next().unwrap(), line.clone())));
        let lines: Vec<String> = expected.values().cloned().collect();
        let first = delivery(&format!("msg_{number}"), event(name));
        assert_eq!(world.send(first.clone()).await.expect(200).json["status"], "received");
        assert_eq!(state(&world).await, lines, "{name}");
        assert_eq!(world.send(first).await.expect(200).json["status"], "duplicate");
        let again = delivery(&format!("msg_{number}_again"), event(name));
        assert_eq!(world.send(again).await.expect(200).json["status"], "received");
        assert_eq!(state(&world).await, lines, "{name}, twice");
    }
    assert_eq!(world.count("select count(*) from webhook_inbox").await, 18);
}

#[tokio::test]
async fn the_nine_samples_leave_the_same_database_in_any_order() {
    let world = World::empty().await;
    let owner = world.owner().await;
    let mut order: Vec<usize> = (0..SAMPLES.len()).collect();
    let mut ends = std::collections::BTreeSet::new();
    let mut random = 1_u64;
    for _ in 0..100 {
        for n in (1..order.len()).rev() {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            order.swap(n, usize::try_from(random >> 33).unwrap() % (n + 1));
        }
        deliver(&world, order.iter().map(|n| event(SAMPLES[*n]))).await;
        ends.insert(state(&world).await);
        owner
            .batch_execute("truncate clerk_tombstones, webhook_inbox, dealerships, users cascade")
            .await
            .unwrap();
    }
    assert_eq!(ends.len(), 1, "{ends:#?}");
}

#[tokio::test]
async fn a_message_is_recorded_once_and_as_it_came() {
    let world = World::empty().await;
    let message = delivery("msg_1", event("clerk-webhook"));
    let mut copies = tokio::task::JoinSet::new();
    let world = std::sync::Arc::new(world.with_concurrency(8));
    for _ in 0..20 {
        let (world, message) = (world.clone(), message.clone());
        copies.spawn(async move { world.send(message).await.expect(200).json["status"] == "received" });
    }
    let received = copies.join_all().await;
    assert_eq!(received.into_iter().filter(|received| *received).count(), 1);

    let inbox = "select jsonb_agg(to_jsonb(i) - 'received_at') from webhook_inbox i";
    let row = json!({
        "provider": "clerk",
        "message_id": "msg_1",
        "event_type": "organization.created",
        "outcome": "applied",
        "occurred_at": "2022-05-31T16:06:42.977+00:00",
        "clerk_user_id": null,
        "body": null,
        "payload": serde_json::from_str::<Value>(message.text()).unwrap(),
    });
    assert_eq!(world.row(inbox, &[]).await.get::<_, Value>(0), json!([row]));
}

#[tokio::test]
async fn a_body_that_the_gateway_encoded_counts_as_it_was_sent() {
    let world = World::empty().await;
    let encoded = event("clerk-webhook/base64-body");
    let timestamp = Timestamp::now().as_second().to_string();
    let body = STANDARD.decode(encoded.text()).unwrap();
    let headers = |signature: String| {
        let event = encoded.clone().header("svix-id", "msg_1").header("svix-timestamp", &timestamp);
        event.header("svix-signature", &signature)
    };
    let sign = |body: &[u8]| svix::sign(WEBHOOK_SECRET, "msg_1", &timestamp, body).unwrap();
    world.send(headers(sign(encoded.text().as_bytes()))).await.expect(401);
    world.send(headers(sign(&body))).await.expect(200);
    assert_eq!(state(&world).await, [format!("{ACME} Acme Inc acme-inc")]);
}

#[tokio::test]
async fn an_event_that_we_do_not_know_is_recorded_and_changes_nothing() {
    let world = World::seeded().await;
    let before = state(&world).await;
    for name in ["session.created", "organizationDomain.created", "user.banned", "organization", ""] {
        deliver(&world, [sample("clerk-webhook", |body| body["type"] = json!(name))]).await;
    }
    assert_eq!(state(&world).await, before);
    assert_eq!(world.count("select count(*) from webhook_inbox where outcome = 'ignored'").await, 5);
}

#[tokio::test]
async fn a_character_that_the_database_cannot_hold_does_not_lose_the_event() {
    let world = World::empty().await;
    let renamed = sample("clerk-webhook", |body| {
        body["data"]["name"] = json!("Acme\0Inc");
        body["data"]["public_metadata"] = json!({ "a\0b": ["c\0d"] });
    });
    deliver(&world, [renamed]).await;
    assert_eq!(state(&world).await, [format!("{ACME} Acme\u{fffd}Inc acme-inc")]);
}

#[tokio::test]
async fn an_older_name_does_not_replace_a_newer_one() {
    let renamed = |name: &'static str, at: i64| {
        sample("clerk-webhook/organization.updated", move |body| {
            body["timestamp"] = json!(at);
            body["data"]["name"] = json!(name);
        })
    };
    let world = World::empty().await;
    deliver(&world, [renamed("Newer", 2_000), renamed("Older", 1_000)]).await;
    assert_eq!(state(&world).await, [format!("{ACME} Newer acme-inc")]);
    deliver(&world, [renamed("Newest", 3_000)]).await;
    assert_eq!(state(&world).await, [format!("{ACME} Newest acme-inc")]);
}

#[tokio::test]
async fn a_membership_that_comes_first_brings_its_organization_and_person() {
    let world = World::empty().await;
    deliver(&world, [event(CREATED)]).await;
    let provisioned = state(&world).await;
    assert_eq!(provisioned.len(), 3, "{provisioned:#?}");

    // Their own events then find them there.
    deliver(&world, [event("clerk-webhook/organization.created"), event("clerk-webhook/user.created")]).await;
    let mut enriched = provisioned;
    enriched[2] += " example@example.org";
    assert_eq!(state(&world).await, enriched);
}

#[tokio::test]
async fn an_organization_stays_deleted_whatever_comes_late() {
    let world = World::empty().await;
    deliver(
        &world,
        [
            event("clerk-webhook/organization.deleted"),
            event("clerk-webhook/organization.created"),
            event(CREATED),
            sample("clerk-webhook/organization.updated", |body| {
                body["timestamp"] = json!(1_900_000_000_000_i64)
            }),
        ],
    )
    .await;
    let state = state(&world).await;
    assert!(state[0].starts_with(ACME) && state[0].ends_with(" deleted"), "{state:#?}");
    let founder = session_token(
        FOUNDER,
        Some(ActiveOrganization { id: ACME, role: "admin", slug: "acme-inc" }),
        Timestamp::now(),
    );
    assert_eq!(list_leads(&world, &founder).await.expect(403).code(), "dealership_suspended");
}

#[tokio::test]
async fn a_deleted_organizations_members_are_refused_at_once() {
    let world = World::seeded().await;
    let kari = kari();
    list_leads(&world, &kari).await.expect(200);
    let deleted = sample("clerk-webhook/organization.deleted", |body| {
        body["timestamp"] = json!(Timestamp::now().as_millisecond());
        body["data"]["id"] = json!(TESLA_OSLO.clerk_org_id);
    });
    deliver(&world, [deleted]).await;
    assert_eq!(list_leads(&world, &kari).await.expect(403).code(), "dealership_suspended");
    world.send(event("create-lead").by(&kari)).await.expect(403);
}

#[tokio::test]
async fn a_removed_members_live_token_is_refused_at_once() {
    let world = World::seeded().await;
    let (kari, nina) = (kari(), nina());
    list_leads(&world, &nina).await.expect(200);
    let id = "orgmem_tesla_oslo_nina";
    deliver(&world, [membership(DELETED, id, &TESLA_OSLO, &NINA, "org:member", Timestamp::now())]).await;
    assert_eq!(list_leads(&world, &nina).await.expect(403).code(), "member_removed");
    list_leads(&world, &kari).await.expect(200);
}

#[tokio::test]
async fn a_lowered_roles_live_token_is_refused_at_once() {
    let world = World::seeded().await;
    let (admin, member) = (kari(), token(&TESLA_OSLO, &KARI, "member"));
    list_leads(&world, &admin).await.expect(200);
    let id = "orgmem_tesla_oslo_kari";
    deliver(&world, [membership(UPDATED, id, &TESLA_OSLO, &KARI, "org:member", Timestamp::now())]).await;
    list_leads(&world, &admin).await.expect(401);
    list_leads(&world, &member).await.expect(200);
}

#[tokio::test]
async fn a_late_removal_does_not_remove_who_has_joined_again() {
    let world = World::seeded().await;
    let nina = nina();
    let event = |name, id, seconds| {
        let at = Timestamp::now() - jiff::SignedDuration::from_secs(seconds);
        membership(name, id, &TESLA_OSLO, &NINA, "org:member", at)
    };
    let (old, new) = ("orgmem_tesla_oslo_nina", "orgmem_second");
    deliver(&world, [event(DELETED, old, 50), event(CREATED, new, 40), event(DELETED, old, 30)]).await;
    list_leads(&world, &nina).await.expect(200);

    // The first event of the old membership is late, too.
    deliver(&world, [event(CREATED, old, 60), event(DELETED, old, 50)]).await;
    list_leads(&world, &nina).await.expect(200);
    let joined = format!("{new} {} {} sales_rep", TESLA_OSLO.clerk_org_id, NINA.clerk_user_id);
    assert!(state(&world).await.contains(&joined), "{:#?}", state(&world).await);

    deliver(&world, [event(DELETED, new, 0)]).await;
    list_leads(&world, &nina).await.expect(403);
}

#[tokio::test]
async fn a_removal_that_overtakes_the_membership_still_removes_it() {
    let world = World::empty().await;
    let membership = |name: &'static str, at: i64| {
        sample(name, move |body| {
            body["timestamp"] = json!(at);
            body["data"]["id"] = json!("orgmem_1");
        })
    };
    // The samples of the two are about different people.
    let person = |mut body: Value| body["data"]["public_user_data"]["user_id"].take();
    let created: Value = serde_json::from_str(membership(CREATED, 1_000).text()).unwrap();
    let founder = person(created);
    let deleted = sample(DELETED, |body| {
        body["timestamp"] = json!(2_000);
        body["data"]["id"] = json!("orgmem_1");
        body["data"]["public_user_data"]["user_id"] = founder;
    });
    deliver(&world, [deleted, membership(CREATED, 1_000), membership(CREATED, 3_000)]).await;
    let removed = format!("orgmem_1 {ACME} {FOUNDER}");
    let state = state(&world).await;
    let rows: Vec<_> = state.iter().filter(|line| line.starts_with(&removed)).collect();
    assert!(matches!(rows.as_slice(), [row] if row.ends_with(" removed")), "{state:#?}");
}

#[tokio::test]
async fn token_first_and_webhook_first_end_in_the_same_place() {
    let organization = ActiveOrganization { id: ACME, role: "admin", slug: "acme-inc" };
    let founder = session_token(FOUNDER, Some(organization), Timestamp::now());
    let events = || [event("clerk-webhook/organization.created"), event(CREATED)];

    let token_first = World::empty().await;
    list_leads(&token_first, &founder).await.expect(200);
    let stub = state(&token_first).await;
    assert!(stub.contains(&format!("unconfirmed {ACME} {FOUNDER} admin")), "{stub:#?}");
    deliver(&token_first, events()).await;

    let webhook_first = World::empty().await;
    deliver(&webhook_first, events()).await;
    list_leads(&webhook_first, &founder).await.expect(200);

    let end = state(&webhook_first).await;
    assert_eq!(end.len(), 3, "{end:#?}");
    assert_eq!(state(&token_first).await, end);
    list_leads(&token_first, &founder).await.expect(200);
}
