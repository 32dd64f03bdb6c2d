//! `OPTIONS /webhooks/form/{dealership_id}`: answers a browser that asks whether a script may send the form.
use shared::docs::Header;
use shared::{Answer, ApiError, Caller, Ctx, Front, Login, Operation, Route, header};

/// Its path, callers, login and statements.
pub const ROUTE: Route = Route {
    name: "form-preflight",
    method: "OPTIONS",
    path: "/webhooks/form/{dealership_id}",
    login: Login::Intake,
    caller: Caller::Public,
    front: Front::FormApi,
    statements: &[&[("settings", SQL)]],
    ..Route::DEFAULT
};

/// How long a browser may keep the answer, in seconds. An origin that was removed from the list may send for as long.
const MAX_AGE_SECONDS: u32 = 600;

const SQL: &str = "select coalesce($1 = any (origins), false) as is_allowed from scope.form_settings()";

/// 204, which allows the dealership's own origins. Another origin gets no such headers, and its browser refuses.
pub async fn handle(ctx: &Ctx<'_>) -> Result<Answer, ApiError> {
    let dealership = ctx.path_id("dealership_id")?;
    let origin = ctx.header("origin");
    let rows = ctx.intake(dealership).query(SQL, &[&origin]).await?;
    let is_allowed: bool = rows.first().ok_or_else(ApiError::not_found)?.try_get("is_allowed")?;

    let answer = Answer::no_content().header(header::VARY, "origin".to_owned());
    Ok(match origin.filter(|_| is_allowed) {
        None => answer,
        Some(origin) => answer
            .header(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.to_owned())
            .header(header::ACCESS_CONTROL_ALLOW_METHODS, "POST".to_owned())
            .header(header::ACCESS_CONTROL_ALLOW_HEADERS, "content-type, idempotency-key".to_owned())
            .header(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE_SECONDS.to_string()),
    })
}

/// Inputs and answers, for the API's document.
pub fn operation() -> Operation {
    Operation::public(&ROUTE)
        .summary("Answer a browser that asks whether a script may send the form")
        .describe(
            "The answer allows the dealership's own origins. Another origin gets no such headers, and its \
             browser refuses.",
        )
        .path_id()
        .reads_header("origin", "The site that a script wants to send from.")
        .no_content()
        .with_headers(&[Header { name: "vary", about: "Another origin gets another answer." }])
        .may_have_headers(
            &[
                "access-control-allow-origin",
                "access-control-allow-methods",
                "access-control-allow-headers",
                "access-control-max-age",
            ]
            .map(|name| Header { name, about: "For the dealership's own origins." }),
        )
}
