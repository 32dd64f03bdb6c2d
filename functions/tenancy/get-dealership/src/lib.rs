//! `GET /api/v1/dealership`: the caller's dealership and the settings of its form.
use const_format::formatcp;
use shared::{Answer, ApiError, Ctx, Operation, Permission, Route};
use tenancy::{DEALERSHIP_COLUMNS, Dealership};

/// Its path, callers, login and statements.
pub const ROUTE: Route = Route {
    name: "get-dealership",
    path: "/api/v1/dealership",
    statements: &[&[("dealership", SQL)]],
    ..Route::DEFAULT
};

const SQL: &str = formatcp!(
    "with mapping as (select version, fields from form_mappings order by version desc limit 1)
     select {DEALERSHIP_COLUMNS}
       from dealerships d left join mapping m on true where d.id = (select scope.dealership_id())"
);

/// The dealership.
pub async fn handle(ctx: &Ctx<'_>) -> Result<Answer, ApiError> {
    let scope = ctx.member(&[Permission::SettingsManage]).await?.with_fixed_plan();
    ctx.no_query()?;
    let rows = scope.query(SQL, &[]).await?;
    Answer::ok(&Dealership::try_from(rows.first().ok_or_else(ApiError::not_found)?)?)
}

/// Inputs and answers, for the API's document.
pub fn operation() -> Operation {
    Operation::member(&ROUTE, &[Permission::SettingsManage])
        .summary("Get the caller's dealership and the settings of its form")
        .ok::<Dealership>()
}
