//! `POST /api/v1/submissions/{id}/release`: accepts a submission that is held or marked as spam. It is read again under
//! the current mapping, and filed.
use const_format::formatcp;
use intake::{Enquiry, FILE_SUBMISSION_SQL, Form, Mapping, SUBMISSION_COLUMNS, Submission};
use serde_json::Value;
use shared::error::StatusCode;
use shared::fields;
use shared::{Answer, ApiError, Ctx, Login, Operation, Permission, Route};

/// Its path, callers, login and statements.
pub const ROUTE: Route = Route {
    name: "release-submission",
    method: "POST",
    path: "/api/v1/submissions/{id}/release",
    login: Login::Writer,
    constraints: &[leads::CONSTRAINTS],
    statements: &[&[("release", RELEASE), ("file", FILE_SUBMISSION_SQL), ("released", RELEASED)]],
    flushes: 2,
    ..Route::DEFAULT
};

/// The row, if it exists. An accepted submission stays as it is.
const RELEASE: &str = "
    with released as (
        update submissions set verdict = 'accepted', reviewed_by = scope.user_id(), reviewed_at = now()
         where id = $1 and verdict <> 'accepted'
    )
    select s.content_type, s.body, coalesce(m.version, 0) as mapping_version, coalesce(m.fields, '{}') as mapping
      from submissions s
      left join lateral (select version, fields from form_mappings f where f.dealership_id = s.dealership_id
                          order by version desc limit 1) m on true
     where s.id = $1";

const RELEASED: &str = formatcp!("select {SUBMISSION_COLUMNS} from submissions where id = $1");

/// 200 with the submission and its lead; 404 when it does not exist; 422 when it has nothing to reach the customer by.
pub async fn handle(ctx: &Ctx<'_>) -> Result<Answer, ApiError> {
    let scope = ctx.member(&[Permission::LeadsEdit]).await?;
    let id = ctx.path_id("id")?;
    ctx.no_query()?;
    let (transaction, rows) = scope.open(RELEASE, &[&id]).await?;
    let row = rows.first().ok_or_else(ApiError::not_found)?;

    let mapping: Mapping = fields::read(row.try_get("mapping")?).unwrap_or_default();
    let form = Form::read(row.try_get("content_type")?, row.try_get("body")?).await?;
    let enquiry: Value = serde_json::to_value(Enquiry::read(&form, &mapping)).map_err(ApiError::internal)?;
    let version: i32 = row.try_get("mapping_version")?;
    let rows = transaction
        .commit(&[(FILE_SUBMISSION_SQL, vec![&id, &enquiry, &version]), (RELEASED, vec![&id])])
        .await?;
    let row = rows.last().and_then(|rows| rows.first()).ok_or_else(ApiError::not_found)?;
    Answer::ok(&Submission::try_from(row)?)
}

/// Inputs and answers, for the API's document.
pub fn operation() -> Operation {
    Operation::member(&ROUTE, &[Permission::LeadsEdit])
        .summary("Accept a submission that is held or marked as spam")
        .describe(
            "The submission is read anew under the current mapping and filed on a lead. 404 when the \
             submission does not exist; 422 when it has nothing to reach the customer by.",
        )
        .path_id()
        .refusal(StatusCode::UNPROCESSABLE_ENTITY, &["validation_failed"])
        .ok::<Submission>()
}
