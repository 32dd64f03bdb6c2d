//! `GET /api/v1/dealership`: the caller's dealership and the settings of its form.
use shared::domain::Dealership;
use shared::{Answer, ApiError, Caller, Ctx, Login, Operation, Permission, Route, select_dealership};

/// As API Gateway spells it; `tests/it/routes.rs` holds it equal to `template.yaml`.
pub const ROUTE: Route = Route {
    name: "get-dealership",
    method: "GET",
    path: "/api/v1/dealership",
    login: Login::Reader,
    caller: Caller::Member,
};

const SQL: &str = concat!(
    "with mapping as (select version, fields from form_mappings order by version desc limit 1) ",
    select_dealership!("dealerships")
);

/// The dealership.
pub async fn handle(ctx: &Ctx<'_>) -> Result<Answer, ApiError> {
    let scope = ctx.member(&[Permission::SettingsManage]).await?.prepared();
    ctx.no_query()?;
    let rows = scope.query(SQL, &[]).await?;
    Answer::ok(&Dealership::try_from(rows.first().ok_or_else(ApiError::not_found)?)?)
}

/// What it reads and answers, for the API's document.
pub fn operation() -> Operation {
    Operation::member(&ROUTE, &[Permission::SettingsManage]).ok::<Dealership>()
}
