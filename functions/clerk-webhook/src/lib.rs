//! `POST /webhooks/clerk`: organizations and memberships, as Clerk tells of them. A message is recorded in
//! the inbox and applied in one transaction; the same message again changes nothing.
mod signature;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::auth::Role;
use shared::db::Param;
use shared::{Answer, ApiError, Caller, Ctx, Login, Route};

pub use signature::Secrets;

/// As API Gateway spells it; `tests/it/routes.rs` holds it equal to `template.yaml`.
pub const ROUTE: Route = Route {
    name: "clerk-webhook",
    method: "POST",
    path: "/webhooks/clerk",
    login: Login::Provisioner,
    caller: Caller::Public,
};

/// The envelope; unknown fields are Clerk's to add.
#[derive(Deserialize)]
struct Event {
    r#type: String,
    /// Milliseconds since 1970: what orders events, never their arrival.
    timestamp: i64,
    data: Value,
}

#[derive(Deserialize)]
struct Organization {
    id: String,
    #[serde(default)]
    name: String,
    slug: Option<String>,
}

#[derive(Deserialize)]
struct Membership {
    id: String,
    organization: Organization,
    public_user_data: PublicUserData,
    role: Option<String>,
}

#[derive(Deserialize)]
struct PublicUserData {
    user_id: String,
    first_name: Option<String>,
    last_name: Option<String>,
}

const RECORD: &str = "
    insert into webhook_inbox (provider, message_id, event_type, payload) values ('clerk', $1, $2, $3)
    on conflict do nothing returning 1";

const UPSERT_DEALERSHIP: &str = "
    insert into dealerships as d (clerk_org_id, name, slug, clerk_version) values ($1, $2, $3, $4)
    on conflict on constraint dealerships_clerk_org_id_key do update
       set name = excluded.name, slug = excluded.slug, clerk_version = excluded.clerk_version, updated_at = now()
     where d.clerk_version < excluded.clerk_version";

/// A deleted dealership stays deleted, and reads and writes stop at once.
const DELETE_DEALERSHIP: &str = "
    insert into dealerships as d (clerk_org_id, name, clerk_version, deleted_at)
    values ($1, $1, $2, to_timestamp($2 / 1000.0))
    on conflict on constraint dealerships_clerk_org_id_key do update
       set deleted_at = coalesce(d.deleted_at, excluded.deleted_at), updated_at = now()";

/// Makes the dealership and the user too, for nothing says that their own events came first. The updates that
/// change nothing are there to return the row.
///
/// A removal ($10) leaves a tombstone even where there was no membership, so that an older event cannot bring it
/// to life; and it removes only the membership that it names, for the person may have joined again since.
const PUT_MEMBERSHIP: &str = "
    with dealership as (
        insert into dealerships as d (clerk_org_id, name, slug) values ($1, $2, $3)
        on conflict on constraint dealerships_clerk_org_id_key do update set clerk_org_id = d.clerk_org_id returning id
    ), person as (
        insert into users as u (clerk_user_id, first_name, last_name) values ($4, $5, $6)
        on conflict on constraint users_clerk_user_id_key do update
           set first_name = coalesce(u.first_name, excluded.first_name), last_name = coalesce(u.last_name, excluded.last_name)
        returning id
    )
    insert into memberships as m (dealership_id, user_id, clerk_membership_id, role, role_at, clerk_version, removed_at)
    select dealership.id, person.id, $7, $8, to_timestamp($9 / 1000.0), $9, case when $10 then to_timestamp($9 / 1000.0) end
      from dealership, person
    on conflict on constraint memberships_pkey do update
       set clerk_membership_id = excluded.clerk_membership_id, clerk_version = excluded.clerk_version,
           removed_at = excluded.removed_at,
           role = case when m.role_at > excluded.role_at then m.role else excluded.role end,
           role_at = greatest(m.role_at, excluded.role_at)
     where case when $10 then m.removed_at is null
                              and coalesce(m.clerk_membership_id, excluded.clerk_membership_id) = excluded.clerk_membership_id
                else m.clerk_version < excluded.clerk_version
                     and (m.removed_at is null or m.clerk_membership_id <> excluded.clerk_membership_id) end";

/// For an event that changes nothing here.
const NOTHING: &str = "select";

#[derive(Serialize)]
struct Received {
    status: &'static str,
}

/// 200 once the message is recorded and applied; 401 for a bad signature, without touching the database.
pub async fn handle(ctx: &Ctx<'_>, secrets: &Secrets) -> Result<Answer, ApiError> {
    let message_id = signature::verify(ctx, secrets)?;
    let payload = without_nul(serde_json::from_slice(ctx.body()?).map_err(|_| malformed())?);
    let event = Event::deserialize(&payload).map_err(|_| malformed())?;
    let change = Change::parse(&event)?;

    let scope = ctx.provisioning();
    let (open, first_time) = scope.open(RECORD, &[&message_id, &event.r#type, &payload]).await?;
    if first_time.is_empty() {
        open.commit(NOTHING, &[]).await?;
        return Answer::ok(&Received { status: "duplicate" });
    }
    let (sql, params) = change.statement(&event);
    open.commit(sql, &params).await?;
    Answer::ok(&Received { status: "received" })
}

enum Change {
    UpsertDealership(Organization),
    DeleteDealership(Organization),
    PutMembership { membership: Membership, role: &'static str, removed: bool },
    Nothing,
}

impl Change {
    fn parse(event: &Event) -> Result<Self, ApiError> {
        Ok(match event.r#type.as_str() {
            "organization.created" | "organization.updated" => Self::UpsertDealership(data(event)?),
            "organization.deleted" => Self::DeleteDealership(data(event)?),
            "organizationMembership.created"
            | "organizationMembership.updated"
            | "organizationMembership.deleted" => {
                let membership: Membership = data(event)?;
                let role = Role::from_clerk(membership.role.as_deref()).as_str();
                let removed = event.r#type == "organizationMembership.deleted";
                Self::PutMembership { membership, role, removed }
            }
            _ => Self::Nothing,
        })
    }

    fn statement<'a>(&'a self, event: &'a Event) -> (&'static str, Vec<&'a dyn Param>) {
        let at = &event.timestamp;
        match self {
            Self::UpsertDealership(Organization { id, name, slug }) => {
                (UPSERT_DEALERSHIP, vec![id, name, slug, at])
            }
            Self::DeleteDealership(Organization { id, .. }) => (DELETE_DEALERSHIP, vec![id, at]),
            Self::PutMembership {
                membership: Membership { id, organization: o, public_user_data: u, .. },
                role,
                removed,
            } => (
                PUT_MEMBERSHIP,
                vec![&o.id, &o.name, &o.slug, &u.user_id, &u.first_name, &u.last_name, id, role, at, removed],
            ),
            Self::Nothing => (NOTHING, vec![]),
        }
    }
}

fn data<T: for<'de> Deserialize<'de>>(event: &Event) -> Result<T, ApiError> {
    T::deserialize(&event.data).map_err(|_| malformed())
}

/// PostgreSQL's text and jsonb hold every character but NUL, and anybody can put one into their own name: no
/// reason to lose the event.
fn without_nul(json: Value) -> Value {
    let clean = |text: String| text.replace('\0', "\u{fffd}");
    match json {
        Value::String(text) => Value::String(clean(text)),
        Value::Array(items) => items.into_iter().map(without_nul).collect(),
        Value::Object(fields) => {
            fields.into_iter().map(|(name, value)| (clean(name), without_nul(value))).collect()
        }
        other => other,
    }
}

fn malformed() -> ApiError {
    ApiError::bad_request("malformed_event", "The body is not an event of Clerk's.")
}
