//! `POST /api/v1/merges/{id}/undo`: undoes a merge. Later changes of the survivor stay.
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use shared::{Answer, ApiError, Ctx, Login, Operation, Permission, Route};
use uuid::Uuid;

/// Its path, callers, login and statements.
pub const ROUTE: Route = Route {
    name: "undo-merge",
    method: "POST",
    path: "/api/v1/merges/{id}/undo",
    login: Login::Writer,
    constraints: &[leads::CONSTRAINTS],
    statements: &[&[("undo", SQL)]],
    ..Route::DEFAULT
};

#[derive(JsonSchema, Serialize)]
struct Undone {
    id: Uuid,
    survivor_id: Uuid,
    /// The lead that was merged; it is visible again.
    lead_id: Uuid,
    conversations_moved: i32,
    /// The survivor's fields that are blank again. Other fields that the merge filled have changed since, and stay.
    cleared: Vec<String>,
    undone_at: Timestamp,
}

const SQL: &str = "
    select (entry).id, (entry).survivor_id, (entry).merged_id, (entry).undone_at, cleared, conversations_moved
      from scope.undo_merge($1)";

/// 200; 404 when there is no such merge; 409 when it is undone already, or its survivor has been merged or deleted.
pub async fn handle(ctx: &Ctx<'_>) -> Result<Answer, ApiError> {
    let scope = ctx.member(&[Permission::LeadsEdit]).await?;
    let id = ctx.path_id("id")?;
    ctx.no_query()?;
    let rows = scope.query(SQL, &[&id]).await?;
    let row = rows.first().ok_or_else(ApiError::not_found)?;
    Answer::ok(&Undone {
        id: row.try_get("id")?,
        survivor_id: row.try_get("survivor_id")?,
        lead_id: row.try_get("merged_id")?,
        conversations_moved: row.try_get("conversations_moved")?,
        cleared: row.try_get("cleared")?,
        undone_at: row.try_get("undone_at")?,
    })
}

/// Inputs and answers, for the API's document.
pub fn operation() -> Operation {
    Operation::member(&ROUTE, &[Permission::LeadsEdit])
        .summary("Undo a merge")
        .describe(
            "What has changed on the survivor since the merge stays. 404 when there is no such merge; 409 \
             when the merge is undone already, or its survivor has been merged or deleted.",
        )
        .path_id()
        .conflict(&["merge_undone", "survivor_gone"])
        .ok::<Undone>()
}
