//! `GET /api/v1/submissions`: what the public form received, newest first, for review.
use const_format::formatcp;
use deserr::Deserr;
use intake::{SUBMISSION_COLUMNS, Submission, Verdict};
use schemars::JsonSchema;
use serde::Serialize;
use shared::fields::FieldErrors;
use shared::page::{self, Cursor, Limit, Order};
use shared::{Answer, ApiError, Ctx, Operation, Permission, Route};

/// Its path, callers, login and statements.
pub const ROUTE: Route = Route {
    name: "list-submissions",
    path: "/api/v1/submissions",
    statements: &[&[("of_any_verdict", ALL), ("of_a_verdict", OF_A_VERDICT)]],
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
    #[deserr(default)]
    verdict: Option<Verdict>,
}

const ALL: &str = formatcp!(
    "select {SUBMISSION_COLUMNS} from submissions
      where $1::timestamptz is null or (received_at, id) < ($1, $2)
      order by received_at desc, id desc limit $3"
);

const OF_A_VERDICT: &str = formatcp!(
    "select {SUBMISSION_COLUMNS} from submissions
      where verdict = $4 and ($1::timestamptz is null or (received_at, id) < ($1, $2))
      order by received_at desc, id desc limit $3"
);

/// The only order of this list.
const ORDER: Order = Order::of(&ROUTE, "-received_at");

#[derive(JsonSchema, Serialize)]
#[schemars(rename = "SubmissionPage")]
struct Page {
    items: Vec<Submission>,
    next_cursor: Option<String>,
}

/// The page.
pub async fn handle(ctx: &Ctx<'_>) -> Result<Answer, ApiError> {
    let scope = ctx.member(&[Permission::LeadsViewAll]).await?;
    let Query { limit, cursor, verdict } = ctx.query()?;
    let cursor = Cursor::in_order(cursor, ORDER)?;
    let (at, id) = (cursor.map(|cursor| cursor.at), cursor.map(|cursor| cursor.id));
    let limit_plus_one = limit.plus_one();
    let rows = match verdict.map(Verdict::as_str) {
        None => scope.query(ALL, &[&at, &id, &limit_plus_one]).await?,
        Some(verdict) => scope.query(OF_A_VERDICT, &[&at, &id, &limit_plus_one, &verdict]).await?,
    };
    let mut items = page::items(&rows)?;
    let next_cursor = page::cut(&mut items, limit, |submission: &Submission| Cursor {
        order: ORDER,
        at: submission.received_at,
        id: submission.id,
    });
    Answer::ok(&Page { items, next_cursor })
}

/// Inputs and answers, for the API's document.
pub fn operation() -> Operation {
    Operation::member(&ROUTE, &[Permission::LeadsViewAll])
        .summary("List what the public form received, newest first")
        .query::<Query>()
        .ok::<Page>()
}
