//! `POST /api/v1/leads/import`: previews a CSV file, then imports it.
//!
//! Without `commit` nothing is written: the answer says how the file is understood and what would become of each row.
//! With `commit` set to the `digest` of that answer, exactly that file is imported.
mod csv_file;
mod row;

use std::collections::HashMap;
use std::fmt::Write;

use const_format::formatcp;
use deserr::Deserr;
use schemars::JsonSchema;
use serde::Serialize;
use sha2::{Digest, Sha256};
use shared::db::{Param, Row};
use shared::error::StatusCode;
use shared::fields::{FieldErrors, Text};
use shared::{Answer, ApiError, Ctx, Login, Operation, Permission, Route};
use uuid::Uuid;

use csv_file::{Column, CsvFile};
use row::{RowError, SampleRow, ValidRow};

/// Its path, callers, login and statements.
pub const ROUTE: Route = Route {
    name: "import-leads",
    method: "POST",
    path: "/api/v1/leads/import",
    login: Login::Writer,
    constraints: &[leads::CONSTRAINTS],
    statements: &[&[("preview", PREVIEW), ("insert", INSERT)]],
    ..Route::DEFAULT
};

/// Bytes of a file. A synchronous event of Lambda has at most 6 MB, and base64 adds a third.
const MAX_FILE_BYTES: usize = 4 * 1024 * 1024;
/// The first is for a file that is known to be UTF-8. API Gateway takes the other two for binary and leaves each byte
/// as it is. Browsers send the last for a CSV file where Excel is installed.
const CONTENT_TYPES: [&str; 3] = ["text/csv", "application/octet-stream", "application/vnd.ms-excel"];
/// Errors in an answer.
const MAX_ERRORS: usize = 100;
/// New rows in a preview.
const SAMPLE_ROWS: usize = 5;
/// The lock under which imports of one dealership take turns, so that each sees the leads of the one before.
const LOCK: &str = "import-leads";

#[derive(Deserr, JsonSchema)]
#[deserr(error = FieldErrors, deny_unknown_fields)]
struct Query {
    #[deserr(default)]
    commit: Option<Text<64>>,
}

/// For each row: the existing lead that it duplicates, and the first earlier row with the same e-mail or phone (or, without
/// both, identical in all fields). So importing a file again makes nothing new.
///
/// One sort for each key compares the rows with the leads that they may duplicate. $2 and $3, the addresses and numbers of
/// the file, are constants to the planner: it reads no lead twice, even when it underestimates a table that has just grown.
/// One look-up for each row took 39 s for 10,000 leads whose statistics were missing.
const DUPLICATES: &str = include_str!("duplicates.sql");

const PREVIEW: &str = formatcp!("with {DUPLICATES} select * from duplicates");

/// Inserts nothing when the idempotency key is taken. The lock lets it see the leads of all earlier imports.
const INSERT: &str = formatcp!(
    "with before as (
        select request_hash = $5 as same_request from idempotency_keys where route = 'import-leads' and key = $4
    ), taken as (
        insert into idempotency_keys (route, key, request_hash)
        select 'import-leads', $4, $5 where $4::text is not null
        on conflict do nothing returning 1
    ), {DUPLICATES}, made as (
        insert into leads (id, source, first_name, last_name, email, phone, phone_e164, company, message,
                           vehicle_of_interest)
        select id, source, first_name, last_name, email, phone, phone_e164, company, message, vehicle_of_interest
          from judged
         where row_number is not null and lead_id is null and first_row = row_number
           and ($4::text is null or exists (select from taken))
         order by row_number
    )
    select coalesce((select same_request from before), true) as same_request,
           exists (select from before) as is_repeated, duplicates.*
      from (select) once left join duplicates on true"
);

/// The result of an import, or of its preview. Rows have the numbers that a spreadsheet shows: the header is 1.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "ImportReport")]
struct Report<'a> {
    rows: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    new: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<usize>,
    duplicates: usize,
    invalid: usize,
    encoding: &'static str,
    delimiter: char,
    columns: &'a [Column],
    errors: &'a [RowError],
    errors_total: usize,
    results: Vec<RowResult>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sample: Option<Vec<SampleRow<'a>>>,
    digest: String,
}

#[derive(Clone, Copy, JsonSchema, Serialize)]
struct RowResult {
    row: u32,
    status: RowStatus,
    /// The lead that the row created or duplicates.
    #[serde(skip_serializing_if = "Option::is_none")]
    lead_id: Option<Uuid>,
    /// The earlier row that it duplicates.
    #[serde(skip_serializing_if = "Option::is_none")]
    of_row: Option<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
enum RowStatus {
    New,
    Created,
    Duplicate,
    Invalid,
    /// Created by the first request with this idempotency key, and deleted since.
    Removed,
}

/// 200 with the preview or, with `commit`, with the result.
pub async fn handle(ctx: &Ctx<'_>) -> Result<Answer, ApiError> {
    let scope = ctx.member(&[Permission::LeadsEdit]).await?;
    let query: Query = ctx.query()?;
    let bytes = ctx.file(&CONTENT_TYPES, MAX_FILE_BYTES)?;
    let digest = digest(bytes);
    if query.commit.as_ref().is_some_and(|commit| commit.as_str() != digest) {
        return Err(ApiError::conflict(
            "file_changed",
            "This is not the file that was previewed: preview it first.",
        ));
    }
    let repeat = ctx.idempotency_of(bytes)?;

    let file = CsvFile::read(bytes)?;
    let (valid, errors) = row::read_all(&file);
    let rows = serde_json::to_value(&valid).map_err(ApiError::internal)?;
    let (emails, phones) = row::keys(&valid);
    let (status, found) = if query.commit.is_none() {
        (RowStatus::New, scope.query(PREVIEW, &[&rows, &emails, &phones]).await?)
    } else {
        let params: [&dyn Param; 5] = [&rows, &emails, &phones, &repeat.key, &repeat.request_hash];
        let found = scope.locked(LOCK).query(INSERT, &params).await?;
        repeat.replayed(&found)?;
        let first = found.first().ok_or_else(ApiError::not_found)?;
        (if first.try_get("is_repeated")? { RowStatus::Removed } else { RowStatus::Created }, found)
    };

    let results = results(&valid, &errors, status, &found)?;
    let count = |status| results.iter().filter(|result| result.status == status).count();
    let is_preview = status == RowStatus::New;
    let is_new = |row: &&ValidRow| {
        let found = results.binary_search_by_key(&row.row_number, |result| result.row).ok();
        found.and_then(|found| results.get(found)).is_some_and(|result| result.status == RowStatus::New)
    };
    Answer::ok(&Report {
        rows: results.len(),
        new: is_preview.then(|| count(RowStatus::New)),
        created: (!is_preview).then(|| count(RowStatus::Created)),
        duplicates: count(RowStatus::Duplicate),
        invalid: count(RowStatus::Invalid),
        encoding: file.encoding,
        delimiter: file.delimiter,
        columns: &file.columns,
        errors: errors.get(..MAX_ERRORS).unwrap_or(&errors),
        errors_total: errors.len(),
        sample: is_preview
            .then(|| valid.iter().filter(is_new).take(SAMPLE_ROWS).map(ValidRow::sample).collect()),
        results,
        digest,
    })
}

/// Inputs and answers, for the API's document.
pub fn operation() -> Operation {
    Operation::member(&ROUTE, &[Permission::LeadsEdit])
        .summary("Import leads from a CSV file")
        .describe(
            "Without `commit` nothing is written: the answer previews how the file is understood and what \
             would become of each row. With `commit` set to the `digest` of that answer, exactly that file is \
             imported.",
        )
        .query::<Query>()
        .file(&CONTENT_TYPES)
        .idempotency()
        .conflict(&["file_changed"])
        .refusal(StatusCode::UNPROCESSABLE_ENTITY, &csv_file::REFUSALS)
        .ok::<Report<'_>>()
}

/// Identifies a file: SHA-256 of its bytes. The same bytes are always read in the same way.
fn digest(bytes: &[u8]) -> String {
    let mut hex = String::new();
    for byte in Sha256::digest(bytes) {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

/// A result for each row, in the order of the rows. `status` is that of the rows that are neither duplicate nor
/// invalid.
fn results(
    valid: &[ValidRow],
    errors: &[RowError],
    status: RowStatus,
    duplicates: &[Row],
) -> Result<Vec<RowResult>, ApiError> {
    let mut known = HashMap::new();
    for row in duplicates {
        // A commit without duplicates has one row too, with the state of the key.
        let Some(number) =
            row.try_get::<_, Option<i32>>("row_number")?.and_then(|number| u32::try_from(number).ok())
        else {
            continue;
        };
        let lead_id: Option<Uuid> = row.try_get("lead_id")?;
        let of_row = row.try_get::<_, Option<i32>>("first_row")?.and_then(|first| u32::try_from(first).ok());
        let of_row = of_row.filter(|first| lead_id.is_none() && *first < number);
        known.insert(number, RowResult { row: number, status: RowStatus::Duplicate, lead_id, of_row });
    }
    let made = |row: &ValidRow| (status == RowStatus::Created).then_some(row.id);
    let valid = valid.iter().map(|valid| {
        let row = valid.row_number;
        known.get(&row).copied().unwrap_or(RowResult { row, status, lead_id: made(valid), of_row: None })
    });
    let mut invalid: Vec<u32> = errors.iter().map(|error| error.row).collect();
    invalid.dedup();
    let invalid = invalid.into_iter().map(|row| RowResult {
        row,
        status: RowStatus::Invalid,
        lead_id: None,
        of_row: None,
    });
    let mut results: Vec<_> = valid.chain(invalid).collect();
    results.sort_unstable_by_key(|result| result.row);
    Ok(results)
}
