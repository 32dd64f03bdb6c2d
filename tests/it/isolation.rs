//! Every route against every persona: the table a security reviewer opens first.
use std::fmt::Write;

use dev::clerk::ActiveOrganization;
use dev::people::{KARI, NINA, OLA, PER, TESLA_OSLO, VW_BERGEN};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::clerk::delivery;
use crate::support::leads::commit;
use crate::support::{ENDPOINTS, Event, LIFETIME, Reply, World, event, session_token, token};

/// Clerk tells that this one has left before the next persona calls, with the same token.
const LEAVER: &str = "member, about to leave";

/// Who calls, about a lead of Tesla Oslo.
struct Persona {
    name: &'static str,
    token: Option<String>,
    /// Whether the lead is the sales rep's.
    assigned: bool,
}

fn personas() -> Vec<Persona> {
    let tesla = |role| ActiveOrganization { id: TESLA_OSLO.clerk_org_id, role, slug: TESLA_OSLO.slug };
    let leaver = session_token("user_leaver", Some(tesla("admin")), Timestamp::now());
    let long_ago = Timestamp::now() - SignedDuration::from_secs(LIFETIME + 60);
    let persona = |name, token| Persona { name, token: Some(token), assigned: false };
    vec![
        persona("other dealership's admin", token(&VW_BERGEN, &PER, "admin")),
        persona("own admin", token(&TESLA_OSLO, &KARI, "admin")),
        persona("own manager", token(&TESLA_OSLO, &OLA, "manager")),
        Persona { assigned: true, ..persona("sales rep, assigned", token(&TESLA_OSLO, &NINA, "member")) },
        persona("sales rep, not assigned", token(&TESLA_OSLO, &NINA, "member")),
        persona("sales rep, claims admin", token(&TESLA_OSLO, &NINA, "admin")),
        persona(LEAVER, leaver.clone()),
        persona("the same token, removed", leaver),
        persona("expired token", session_token(KARI.clerk_user_id, Some(tesla("admin")), long_ago)),
        persona("no organization", session_token(KARI.clerk_user_id, None, Timestamp::now())),
        Persona { name: "no token", token: None, assigned: false },
    ]
}

/// The route's event, about `lead`, into which `other` is merged.
fn about(lead: Uuid, other: Uuid, function: &'static str) -> Event {
    let event = event(function);
    match function {
        "create-conversation" => event.json(json!({"lead_id": lead, "channel": "email", "body": "Hei"})),
        "create-lead" => event.json(json!({"source": "manual", "first_name": "Ny"})),
        "merge-lead" => event.id(lead).json(json!({"lead_id": other})),
        "patch-lead" => event.id(lead).json(json!({"company": "Isolert AS"})).without_header("if-match"),
        "import-leads" => commit(event),
        "form-preflight" | "form-script" | "form-webhook" => event.path("dealership_id", TESLA_OSLO.id),
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

async fn state(world: &World, lead: Uuid) -> (i32, i32, bool) {
    let row = world
        .row("select version, conversation_count, deleted_at is null from leads where id = $1", &[&lead])
        .await;
    (row.get(0), row.get(1), row.get(2))
}

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
            let before = state(&world, lead).await;
            let event = about(lead, other, endpoint.route.name);
            let event = match &persona.token {
                Some(token) => event.by(token),
                None => event.without_header("authorization"),
            };
            let reply = world.send(event).await;

            let after = state(&world, lead).await;
            assert!(
                reply.status < 300 || before == after,
                "{} changed it by {}",
                persona.name,
                endpoint.route.name
            );
            let writes = ["create-conversation", "delete-lead", "merge-lead", "patch-lead", "undo-merge"]
                .contains(&endpoint.route.name);
            assert!(
                reply.status >= 300 || !writes || before != after,
                "{} was told so, but {} changed nothing",
                persona.name,
                endpoint.route.name
            );
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
