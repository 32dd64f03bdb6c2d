//! `POST /api/v1/conversations`: records a message on a lead. It sends nothing.
use const_format::formatcp;
use deserr::Deserr;
use leads::{AuthorKind, CONVERSATION_COLUMNS, Channel, Conversation, Direction};
use schemars::JsonSchema;
use serde_json::{Map, Value, json};
use shared::fields::{FieldErrors, Id, Text};
use shared::{Answer, ApiError, Ctx, Login, Operation, Permission, Route};
use uuid::Uuid;

/// Its path, callers, login and statements.
pub const ROUTE: Route = Route {
    name: "create-conversation",
    method: "POST",
    path: "/api/v1/conversations",
    login: Login::Writer,
    constraints: &[leads::CONSTRAINTS],
    statements: &[&[("insert", INSERT), ("replay", REPLAY)]],
    ..Route::DEFAULT
};

#[derive(Deserr, JsonSchema)]
#[deserr(error = FieldErrors, deny_unknown_fields)]
#[schemars(deny_unknown_fields, extend("anyOf" = either_direction()))]
struct NewConversation {
    lead_id: Id,
    channel: Channel,
    #[deserr(default = outbound())]
    #[schemars(default = "outbound")]
    direction: Direction,
    /// By default the customer for an inbound message and a human for an outbound one.
    #[deserr(default)]
    author_kind: Option<AuthorKind>,
    /// Whether a machine sent it for a person, such as an out-of-office note: it does not count as a response.
    #[deserr(default)]
    #[schemars(default)]
    auto_reply: bool,
    body: Text<20_000>,
    #[deserr(default)]
    #[schemars(default)]
    message_metadata: JsonObject,
}

/// The rules of the table's constraints.
fn either_direction() -> [Value; 2] {
    let inbound = json!({
        "direction": { "const": "inbound" },
        "author_kind": { "enum": ["customer", null] },
        "channel": { "not": { "const": "note" } },
    });
    let outbound = json!({
        "direction": { "const": "outbound" },
        "author_kind": { "not": { "const": "customer" } },
        "channel": { "not": { "const": "form" } },
    });
    [json!({ "required": ["direction"], "properties": inbound }), json!({ "properties": outbound })]
}

fn outbound() -> Direction {
    Direction::Outbound
}

/// The channel's own data about the message, kept unchanged.
#[derive(Default, Deserr, JsonSchema)]
#[schemars(inline)]
#[deserr(try_from(Value) = JsonObject::parse -> shared::fields::Invalid)]
struct JsonObject(Map<String, Value>);

/// Inserts nothing when there is no such lead or the idempotency key is taken. Triggers update the lead's count and
/// first-response times.
const INSERT: &str = formatcp!(
    "with lead as (
        select id from leads where id = $4 and deleted_at is null
    ), taken as (
        insert into idempotency_keys (route, key, request_hash, resource_id)
        select 'create-conversation', $2, $3, $1 from lead where $2::text is not null
        on conflict do nothing returning 1
    )
    insert into conversations (id, lead_id, direction, channel, author_kind, author_id, auto_reply, body, message_metadata)
    select $1, lead.id, $5, $6, $7, case when $7 = 'human' then scope.user_id() end, $8, $9, $10
      from lead where $2::text is null or exists (select from taken)
    returning {CONVERSATION_COLUMNS}"
);

const REPLAY: &str = formatcp!(
    "select k.request_hash = $2 as same_request, message.* from idempotency_keys k
       join (select {CONVERSATION_COLUMNS} from conversations) message on message.id = k.resource_id
      where k.route = 'create-conversation' and k.key = $1"
);

/// 201 with the conversation; 404 when the lead does not exist or the caller may not see it.
pub async fn handle(ctx: &Ctx<'_>) -> Result<Answer, ApiError> {
    let scope = ctx.member(&[Permission::LeadsEdit, Permission::LeadsViewAssigned]).await?.with_fixed_plan();
    ctx.no_query()?;
    let new: NewConversation = ctx.json()?;
    let repeat = ctx.idempotency()?;

    let author = new.author_kind.unwrap_or(match new.direction {
        Direction::Inbound => AuthorKind::Customer,
        Direction::Outbound => AuthorKind::Human,
    });
    let mut rows = scope
        .query(
            INSERT,
            &[
                &Uuid::now_v7(),
                &repeat.key,
                &repeat.request_hash,
                &new.lead_id.0,
                &new.direction.as_str(),
                &new.channel.as_str(),
                &author.as_str(),
                &new.auto_reply,
                &new.body.as_str(),
                &Value::Object(new.message_metadata.0),
            ],
        )
        .await?;
    if rows.is_empty() && repeat.key.is_some() {
        rows = scope.query(REPLAY, &[&repeat.key, &repeat.request_hash]).await?;
        repeat.replayed(&rows)?;
    }
    let message = Conversation::try_from(rows.first().ok_or_else(ApiError::not_found)?)?;
    Answer::created(format!("/api/v1/leads/{}/conversations", message.lead_id), &message)
}

/// Inputs and answers, for the API's document.
pub fn operation() -> Operation {
    Operation::member(&ROUTE, &[Permission::LeadsEdit, Permission::LeadsViewAssigned])
        .summary("Record a message on a lead")
        .describe(
            "Norvalt records the message and sends nothing. 404 when the lead does not exist or the caller \
             may not see it.",
        )
        .json::<NewConversation>()
        .idempotency()
        .created::<Conversation>()
}

impl JsonObject {
    fn parse(value: Value) -> Result<Self, shared::fields::Invalid> {
        match value {
            Value::Object(fields) => Ok(Self(fields)),
            _ => Err(shared::fields::Invalid::because("must be an object")),
        }
    }
}
