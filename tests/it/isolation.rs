//! Every route against every persona: the table a security reviewer opens first.
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use dev::clerk::ActiveOrganization;
use dev::people::{Dealership, KARI, NINA, OLA, PER, Person, TESLA_OSLO, VW_BERGEN};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use shared::Caller;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::support::clerk::delivery;
use crate::support::leads::commit;
use crate::support::{ENDPOINTS, Event, Reply, World, event, token_for};

/// Clerk reports that this one has left before the next persona calls, with the same token.
const LEAVER: &str = "member, about to leave";

/// How long a token lives, in seconds: longer than the test takes on a slow machine.
const LIFETIME: i64 = 3600;

/// A query for the content of every table, a row for each dealership in it, out of the catalog.
const EVERY_TABLE: &str = "
    select string_agg(
               format('select %L, %s as dealership_id, md5(string_agg(t::text, '''' order by t::text)) from %I t group by 2',
                      relname,
                      case when exists (select from pg_attribute
                                         where attrelid = c.oid and attname = 'dealership_id' and not attisdropped)
                           then 'dealership_id'
                           when relname = 'dealerships' then 'id' else 'null::uuid' end,
                      relname),
               ' union all ')
      from pg_class c
     where relkind = 'r' and relnamespace = 'public'::regnamespace and relname <> 'refinery_schema_history'";

/// The one persona of VW Bergen.
const OTHERS_ADMIN: &str = "other dealership's admin";

/// A hash of what each table holds, by the table and the dealership whose rows they are.
type Content = BTreeMap<(String, Option<Uuid>), String>;

/// Who calls, about a lead of Tesla Oslo.
struct Persona {
    name: &'static str,
    token: Option<String>,
    /// Whether the lead is the sales rep's.
    assigned: bool,
}

fn token(dealership: &Dealership, person: &Person, role: &str) -> String {
    let organization = ActiveOrganization { id: dealership.clerk_org_id, role, slug: dealership.slug };
    token_for(person.clerk_user_id, Some(organization), Timestamp::now(), LIFETIME)
}

fn personas() -> Vec<Persona> {
    let tesla = |role| ActiveOrganization { id: TESLA_OSLO.clerk_org_id, role, slug: TESLA_OSLO.slug };
    let leaver = token_for("user_leaver", Some(tesla("admin")), Timestamp::now(), LIFETIME);
    let long_ago = Timestamp::now() - SignedDuration::from_secs(LIFETIME + 60);
    let persona = |name, token| Persona { name, token: Some(token), assigned: false };
    vec![
        persona(OTHERS_ADMIN, token(&VW_BERGEN, &PER, "admin")),
        persona("own admin", token(&TESLA_OSLO, &KARI, "admin")),
        persona("own manager", token(&TESLA_OSLO, &OLA, "manager")),
        Persona { assigned: true, ..persona("sales rep, assigned", token(&TESLA_OSLO, &NINA, "member")) },
        persona("sales rep, not assigned", token(&TESLA_OSLO, &NINA, "member")),
        persona("sales rep, claims admin", token(&TESLA_OSLO, &NINA, "admin")),
        persona(LEAVER, leaver.clone()),
        persona("the same token, removed", leaver),
        persona("expired token", token_for(KARI.clerk_user_id, Some(tesla("admin")), long_ago, LIFETIME)),
        persona("no organization", token_for(KARI.clerk_user_id, None, Timestamp::now(), LIFETIME)),
        Persona { name: "no token", token: None, assigned: false },
    ]
}

/// The route's event, about `lead`, into which `other` is merged. The same file and the same form are written once, so
/// they say something new in each event.
fn about(lead: Uuid, other: Uuid, function: &'static str) -> Event {
    let event = event(function);
    match function {
        "create-conversation" => event.json(json!({"lead_id": lead, "channel": "email", "body": "Hei"})),
        "create-lead" => event.json(json!({"source": "manual", "first_name": "Ny"})),
        "merge-lead" => event.id(lead).json(json!({"lead_id": other})),
        "patch-lead" => event.id(lead).json(json!({"company": "Isolert AS"})).without_header("if-match"),
        "import-leads" => commit(event.body(&format!("E-post\n{lead}@import.example\n"))),
        "form-preflight" | "form-script" => event.path("dealership_id", TESLA_OSLO.id),
        "form-webhook" => event
            .path("dealership_id", TESLA_OSLO.id)
            .json(json!({"email": format!("{lead}@form.example"), "message": "Hei"})),
        _ => event.id(lead),
    }
    .without_header("idempotency-key")
}

/// The text of a file.
fn file(reply: &Reply) -> String {
    String::from_utf8(reply.body.clone()).unwrap()
}

/// What Clerk posts when the leaver has left.
fn leaves() -> Event {
    let event = event("clerk-webhook/organizationMembership.deleted");
    let mut message: Value = serde_json::from_str(event.text()).unwrap();
    message["timestamp"] = json!(Timestamp::now().as_millisecond());
    message["data"]["id"] = json!("orgmem_leaver");
    message["data"]["organization"]["id"] = json!(TESLA_OSLO.clerk_org_id);
    message["data"]["public_user_data"]["user_id"] = json!("user_leaver");
    delivery("msg_leaves", event.json(message))
}

/// A fresh lead of Tesla Oslo's, and what it looks like.
async fn lead(world: &World, assigned: bool) -> Uuid {
    let sql = "insert into leads (dealership_id, source, first_name, assigned_to) values ($1, 'api', 'Isolda', $2) returning id";
    let lead: Uuid = world.row(sql, &[&TESLA_OSLO.id, &assigned.then_some(NINA.id)]).await.get(0);
    // And a held submission of the same id, for the routes that are about one.
    let sql = "insert into submissions (dealership_id, id, content_type, headers, body, content_hash, verdict)
               values ($1, $2, 'application/json', '{}', convert_to('{\"email\": \"' || $2::uuid || '@b.example\"}', 'UTF8'), '', 'held')";
    world.owner().await.execute(sql, &[&TESLA_OSLO.id, &lead]).await.unwrap();
    lead
}

async fn content(owner: &Client, every_table: &str) -> Content {
    let rows = owner.query(every_table, &[]).await.unwrap();
    rows.iter().map(|row| ((row.get(0), row.get(1)), row.get(2))).collect()
}

/// The tables that differ, each with the dealership whose rows do.
fn changed(before: &Content, after: &Content) -> BTreeSet<(String, Option<Uuid>)> {
    let differs = |key: &&(String, Option<Uuid>)| before.get(*key) != after.get(*key);
    before.keys().chain(after.keys()).filter(differs).cloned().collect()
}

/// A request that is refused changes no table, and no table is excepted: the unsigned message of Clerk's is refused
/// before the inbox, and every person here is a member already, so that none is provisioned. A route that reads changes
/// none either. A route that writes changes something whenever it accepts, and only at the dealership it is about.
#[tokio::test]
async fn who_may_do_what() {
    let world = World::seeded().await;
    let owner = world.owner().await;
    // Claims admin: the row says otherwise, and says it later than the token.
    owner
        .batch_execute(
            "update memberships set role_at = now() + interval '1 minute';
             insert into users (clerk_user_id) values ('user_leaver');
             insert into memberships (dealership_id, user_id, clerk_membership_id, role, role_at)
             select d.id, u.id, 'orgmem_leaver', 'admin', now() - interval '1 day' from dealerships d, users u
              where d.slug = 'tesla-oslo' and u.clerk_user_id = 'user_leaver'",
        )
        .await
        .unwrap();

    let every_table: String = owner.query_one(EVERY_TABLE, &[]).await.unwrap().get(0);
    let tables = content(&owner, &every_table).await;
    for table in ["dealerships", "users", "leads", "conversations", "memberships", "submissions"] {
        assert!(tables.keys().any(|(name, _)| name == table), "{table} is not compared");
    }
    let personas = personas();
    let mut table = format!("{:<26}", "");
    for endpoint in ENDPOINTS.iter() {
        let _ = write!(table, " {:>19}", endpoint.route.name);
    }
    for persona in &personas {
        let _ = write!(table, "\n{:<26}", persona.name);
        for endpoint in ENDPOINTS.iter() {
            let other = lead(&world, persona.assigned).await;
            let lead = lead(&world, persona.assigned).await;
            if endpoint.route.name == "undo-merge" {
                // Under the survivor's id, so that the event is about it.
                world.merge_as(lead, lead, other).await;
            }
            let before = content(&owner, &every_table).await;
            let event = about(lead, other, endpoint.route.name);
            let event = match &persona.token {
                Some(token) => event.by(token),
                None => event.without_header("authorization"),
            };
            let reply = world.send(event).await;

            let changed = changed(&before, &content(&owner, &every_table).await);
            let (who, what) = (persona.name, endpoint.route.name);
            let writes = !["GET", "OPTIONS"].contains(&endpoint.route.method);
            if writes && reply.status < 300 {
                assert!(!changed.is_empty(), "{what} accepted what {who} sent and changed nothing");
            } else {
                assert!(
                    changed.is_empty(),
                    "{what} answered {who} with {} and changed {changed:?}",
                    reply.status
                );
            }
            // The path says whose form it is, and the token whose everything else.
            let is_others = who == OTHERS_ADMIN && endpoint.route.caller == Caller::Member;
            let theirs = Some(if is_others { VW_BERGEN.id } else { TESLA_OSLO.id });
            assert!(changed.iter().all(|(_, whose)| *whose == theirs), "{what} of {who} changed {changed:?}");
            let cell = match endpoint.route.name {
                "list-leads" if reply.status == 200 && reply.ids().contains(&lead.to_string().as_str()) => {
                    "200 shows it"
                }
                "list-leads" if reply.status == 200 => "200 hides it",
                "export-leads" if reply.status == 200 && file(&reply).contains(&lead.to_string()) => {
                    "200 shows it"
                }
                "export-leads" if reply.status == 200 => "200 hides it",
                _ => &reply.status.to_string(),
            };
            let _ = write!(table, " {cell:>19}");
        }
        if persona.name == LEAVER {
            world.send(leaves()).await.expect(200);
        }
    }
    insta::assert_snapshot!(table);
}
