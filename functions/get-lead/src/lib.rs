//! `GET /api/v1/leads/{id}`: one lead, with its ETag.
use shared::domain::Lead;
use shared::{Answer, ApiError, Caller, Ctx, Login, Operation, Permission, Route, select_lead};

/// As API Gateway spells it; `tests/it/routes.rs` holds it equal to `template.yaml`.
pub const ROUTE: Route = Route {
    name: "get-lead",
    method: "GET",
    path: "/api/v1/leads/{id}",
    login: Login::Reader,
    caller: Caller::Member,
};

const SQL: &str = concat!(select_lead!("leads"), " where l.id = $1 and l.deleted_at is null");

/// The lead, or 404 when it is not there or not the caller's to see.
pub async fn handle(ctx: &Ctx<'_>) -> Result<Answer, ApiError> {
    let scope = ctx.member(&[Permission::LeadsViewAll, Permission::LeadsViewAssigned]).await?.prepared();
    let id = ctx.path_id("id")?;
    ctx.no_query()?;
    let rows = scope.query(SQL, &[&id]).await?;
    let lead = Lead::try_from(rows.first().ok_or_else(ApiError::not_found)?)?;
    Ok(Answer::ok(&lead)?.etag(lead.version))
}

/// What it reads and answers, for the API's document.
pub fn operation() -> Operation {
    Operation::member(&ROUTE, &[Permission::LeadsViewAll, Permission::LeadsViewAssigned])
        .path_id()
        .ok::<Lead>()
        .etag()
}
