//! `DELETE /api/v1/leads/{id}`: hides a lead; its row and its messages stay.
use shared::{Answer, ApiError, Ctx, Login, Operation, Permission, Route};

/// Its path, callers, login and statements.
pub const ROUTE: Route = Route {
    name: "delete-lead",
    method: "DELETE",
    path: "/api/v1/leads/{id}",
    login: Login::Writer,
    constraints: &[leads::CONSTRAINTS],
    statements: &[&[("delete", SQL)]],
    ..Route::DEFAULT
};

/// One row if the lead exists; `changed` is false if `If-Match` names another version.
const SQL: &str = "
    with changed as (
        update leads set deleted_at = now()
         where id = $1 and deleted_at is null and ($2::int[] is null or version = any ($2))
        returning id
    )
    select exists (select from changed) as changed from leads where id = $1 and deleted_at is null";

/// 204; 404 when the lead does not exist or the caller may not see it; 412 when `If-Match` names another version.
pub async fn handle(ctx: &Ctx<'_>) -> Result<Answer, ApiError> {
    let scope = ctx.member(&[Permission::LeadsDelete]).await?.with_fixed_plan();
    let id = ctx.path_id("id")?;
    ctx.no_query()?;
    let rows = scope.query(SQL, &[&id, &ctx.if_match()]).await?;
    let row = rows.first().ok_or_else(ApiError::not_found)?;
    if row.try_get("changed")? { Ok(Answer::no_content()) } else { Err(ApiError::precondition_failed()) }
}

/// Inputs and answers, for the API's document.
pub fn operation() -> Operation {
    Operation::member(&ROUTE, &[Permission::LeadsDelete])
        .summary("Delete a lead")
        .describe(
            "The lead is hidden; its row and its messages stay. 404 when the lead does not exist or the \
             caller may not see it; 412 when `If-Match` names another version.",
        )
        .path_id()
        .if_match()
        .no_content()
}
