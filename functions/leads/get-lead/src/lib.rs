//! `GET /api/v1/leads/{id}`: one lead, with its ETag.
use const_format::formatcp;
use leads::{JOIN_LAST_MESSAGE, LEAD_COLUMNS, Lead};
use shared::{Answer, ApiError, Ctx, Operation, Permission, Route};

/// Its path, callers, login and statements.
pub const ROUTE: Route =
    Route { name: "get-lead", path: "/api/v1/leads/{id}", statements: &[&[("lead", SQL)]], ..Route::DEFAULT };

const SQL: &str = formatcp!(
    "select {LEAD_COLUMNS} from leads l {JOIN_LAST_MESSAGE} where l.id = $1 and l.deleted_at is null"
);

/// The lead; 404 when it does not exist or the caller may not see it.
pub async fn handle(ctx: &Ctx<'_>) -> Result<Answer, ApiError> {
    let scope =
        ctx.member(&[Permission::LeadsViewAll, Permission::LeadsViewAssigned]).await?.with_fixed_plan();
    let id = ctx.path_id("id")?;
    ctx.no_query()?;
    let rows = scope.query(SQL, &[&id]).await?;
    let lead = Lead::try_from(rows.first().ok_or_else(ApiError::not_found)?)?;
    Ok(Answer::ok(&lead)?.etag(lead.version))
}

/// Inputs and answers, for the API's document.
pub fn operation() -> Operation {
    Operation::member(&ROUTE, &[Permission::LeadsViewAll, Permission::LeadsViewAssigned])
        .summary("Get a lead")
        .path_id()
        .ok::<Lead>()
        .etag()
}
