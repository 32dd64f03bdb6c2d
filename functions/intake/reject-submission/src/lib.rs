//! `POST /api/v1/submissions/{id}/reject`: marks a submission as spam.
use const_format::formatcp;
use intake::{SUBMISSION_COLUMNS, Submission};
use shared::{Answer, ApiError, Ctx, Login, Operation, Permission, Route};

/// Its path, callers, login and statements.
pub const ROUTE: Route = Route {
    name: "reject-submission",
    method: "POST",
    path: "/api/v1/submissions/{id}/reject",
    login: Login::Writer,
    statements: &[&[("reject", REJECT)]],
    ..Route::DEFAULT
};

/// The row after the change, if it exists. A submission that is on a lead stays as it is.
const REJECT: &str = formatcp!(
    "with rejected as (
        update submissions set verdict = 'spam', reviewed_by = scope.user_id(), reviewed_at = now()
         where id = $1 and filed_at is null
        returning *
     )
     select {SUBMISSION_COLUMNS}
       from (select * from rejected
             union all select * from submissions where id = $1 and not exists (select from rejected)) submission"
);

/// 200 with the submission; 404 when it does not exist; 409 when it is on a lead already: delete the lead instead.
pub async fn handle(ctx: &Ctx<'_>) -> Result<Answer, ApiError> {
    let scope = ctx.member(&[Permission::LeadsEdit]).await?;
    let id = ctx.path_id("id")?;
    ctx.no_query()?;
    let rows = scope.query(REJECT, &[&id]).await?;
    let submission = Submission::try_from(rows.first().ok_or_else(ApiError::not_found)?)?;
    if submission.filed_at.is_some() {
        return Err(ApiError::conflict("already_filed", "The submission is on a lead already."));
    }
    Answer::ok(&submission)
}

/// Inputs and answers, for the API's document.
pub fn operation() -> Operation {
    Operation::member(&ROUTE, &[Permission::LeadsEdit])
        .summary("Mark a submission as spam")
        .describe(
            "404 when the submission does not exist; 409 when it is on a lead already: delete the lead \
             instead.",
        )
        .path_id()
        .conflict(&["already_filed"])
        .ok::<Submission>()
}
