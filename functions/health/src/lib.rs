//! `GET /health`: whether this deployment can reach its database.
use schemars::JsonSchema;
use serde::Serialize;
use shared::{Answer, ApiError, Caller, Ctx, Login, Operation, Route};

/// As API Gateway spells it; `tests/it/routes.rs` holds it equal to `template.yaml`.
pub const ROUTE: Route =
    Route { name: "health", method: "GET", path: "/health", login: Login::Reader, caller: Caller::Public };

#[derive(JsonSchema, Serialize)]
struct Health {
    status: &'static str,
}

/// 200 while the database answers, 503 while it does not.
pub async fn handle(ctx: &Ctx<'_>) -> Result<Answer, ApiError> {
    ctx.ping_database_outside_any_scope().await?;
    Answer::ok(&Health { status: "ok" })
}

/// What it reads and answers, for the API's document.
pub fn operation() -> Operation {
    Operation::public(&ROUTE).ok::<Health>()
}
