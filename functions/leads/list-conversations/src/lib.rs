//! `GET /api/v1/leads/{id}/conversations`: the messages of a lead, oldest first.
use const_format::formatcp;
use deserr::Deserr;
use leads::{CONVERSATION_COLUMNS, Conversation};
use schemars::JsonSchema;
use serde::Serialize;
use shared::fields::FieldErrors;
use shared::page::{self, Cursor, Limit, Order};
use shared::{Answer, ApiError, Ctx, Operation, Permission, Route};

/// Its path, callers, login and statements.
pub const ROUTE: Route = Route {
    name: "list-conversations",
    path: "/api/v1/leads/{id}/conversations",
    statements: &[&[("page", SQL)]],
    ..Route::DEFAULT
};

#[derive(Deserr, JsonSchema)]
#[deserr(error = FieldErrors, deny_unknown_fields)]
struct Query {
    #[deserr(default)]
    #[schemars(default)]
    limit: Limit,
    #[deserr(default)]
    cursor: Option<Cursor>,
}

/// At least one row if the lead exists; without messages its id is null.
const SQL: &str = formatcp!(
    "select {CONVERSATION_COLUMNS}
       from (select from leads where id = $1 and deleted_at is null) there
       left join lateral (
        select * from conversations
         where lead_id = $1 and ($2::timestamptz is null or (created_at, id) > ($2, $3))
         order by created_at, id limit $4) message on true
     order by created_at, id"
);

/// The only order of this list.
const ORDER: Order = Order::of(&ROUTE, "created_at");

#[derive(JsonSchema, Serialize)]
#[schemars(rename = "ConversationPage")]
struct Page {
    items: Vec<Conversation>,
    next_cursor: Option<String>,
}

/// The page; 404 when the lead does not exist or the caller may not see it.
pub async fn handle(ctx: &Ctx<'_>) -> Result<Answer, ApiError> {
    let scope = ctx.member(&[Permission::LeadsViewAll, Permission::LeadsViewAssigned]).await?;
    let lead = ctx.path_id("id")?;
    let Query { limit, cursor } = ctx.query()?;
    let cursor = Cursor::in_order(cursor, ORDER)?;
    let (at, id) = (cursor.map(|cursor| cursor.at), cursor.map(|cursor| cursor.id));
    let rows = scope.query(SQL, &[&lead, &at, &id, &limit.plus_one()]).await?;
    if rows.is_empty() {
        return Err(ApiError::not_found());
    }
    let mut items = page::items(&rows)?;
    let next_cursor = page::cut(&mut items, limit, |message: &Conversation| Cursor {
        order: ORDER,
        at: message.created_at,
        id: message.id,
    });
    Answer::ok(&Page { items, next_cursor })
}

/// Inputs and answers, for the API's document.
pub fn operation() -> Operation {
    Operation::member(&ROUTE, &[Permission::LeadsViewAll, Permission::LeadsViewAssigned])
        .summary("List the messages of a lead, oldest first")
        .describe("404 when the lead does not exist or the caller may not see it.")
        .path_id()
        .query::<Query>()
        .ok::<Page>()
}
