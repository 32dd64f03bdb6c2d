//! `GET /health`: whether this deployment can reach its database.
use schemars::JsonSchema;
use serde::Serialize;
use shared::{Answer, ApiError, Caller, Ctx, Operation, Route};

/// Where it is and whom it answers.
pub const ROUTE: Route = Route { name: "health", path: "/health", caller: Caller::Public, ..Route::DEFAULT };

#[derive(JsonSchema, Serialize)]
struct Health {
    status: &'static str,
    /// Of the deployment.
    version: &'static str,
}

/// 200 while the database answers, 503 while it does not.
pub async fn handle(ctx: &Ctx<'_>) -> Result<Answer, ApiError> {
    ctx.ping_database_outside_any_scope().await?;
    Answer::ok(&Health { status: "ok", version: env!("CARGO_PKG_VERSION") })
}

/// What it reads and answers, for the API's document.
pub fn operation() -> Operation {
    Operation::public(&ROUTE)
        .summary("Check whether the deployment reaches its database")
        .describe("503 while it does not.")
        .ok::<Health>()
}
