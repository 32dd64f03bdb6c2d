//! `GET /api/v1/leads/export`: all leads that the filters find, as a CSV file.
use const_format::formatcp;
use csv::{Terminator, WriterBuilder};
use futures_util::{StreamExt, stream};
use leads::spreadsheet::guarded;
use leads::{LEAD_CONDITIONS, LeadFilters};
use shared::db::{DbError, Row};
use shared::docs::{Header, Media};
use shared::error::StatusCode;
use shared::{ApiError, Ctx, Download, Front, Operation, Permission, Route};

/// It has a function URL: API Gateway would buffer the whole answer, and refuse more than 6 MB.
pub const ROUTE: Route = Route {
    name: "export-leads",
    path: "/api/v1/leads/export",
    front: Front::StreamingUrl,
    timeout_seconds: 120,
    statements: &[&[("rows", ROWS)]],
    // The last row ends the first flush; the second ends the transaction.
    flushes: 2,
    ..Route::DEFAULT
};

/// Without this mark Excel does not read the file as UTF-8.
const BYTE_ORDER_MARK: &str = "\u{feff}";

/// The header. Other programs rely on it: new columns go to the end.
const COLUMNS: [&str; 17] = [
    "id",
    "created_at",
    "updated_at",
    "source",
    "status",
    "lost_reason",
    "first_name",
    "last_name",
    "email",
    "phone",
    "phone_e164",
    "company",
    "message",
    "vehicle_of_interest",
    "assigned_to",
    "assigned_to_name",
    "marketing_consent",
];

/// The columns as text, newest lead first. The order names the table's columns, which have an index, and not the texts
/// of the same name.
const ROWS: &str = formatcp!(
    r#"declare streamed no scroll cursor for
       select id::text,
              to_char(created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
              to_char(updated_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
              source, status, lost_reason, first_name, last_name, email, phone, phone_e164, company, message,
              vehicle_of_interest, assigned_to::text,
              (select nullif(concat_ws(' ', u.first_name, u.last_name), '') from users u where u.id = assigned_to),
              consent ->> 'marketing'
         from leads where {LEAD_CONDITIONS}
        order by leads.created_at desc, leads.id desc"#
);

/// The file: UTF-8 with a byte order mark, formatted as RFC 4180, without formulas.
pub async fn handle(ctx: &Ctx<'_>) -> Result<Download, ApiError> {
    let scope = ctx.member(&[Permission::LeadsExport]).await?;
    let filters: LeadFilters = ctx.query()?;

    let rows = scope.stream(ROWS, &filters.conditions(&scope).params()).await?;
    let header = std::future::ready(
        lines([COLUMNS.map(Some)]).map(|line| [BYTE_ORDER_MARK.as_bytes(), &line].concat()),
    );
    let file = stream::once(header).chain(rows.map(file_rows));
    Ok(Download::new("text/csv; charset=utf-8; header=present", "leads.csv", file))
}

/// Inputs and answers, for the API's document.
pub fn operation() -> Operation {
    Operation::member(&ROUTE, &[Permission::LeadsExport])
        .summary("Export the leads that the filters find, as a CSV file")
        .describe(
            "The file is UTF-8 with a byte order mark, formatted as RFC 4180. A cell that a spreadsheet would \
             take for a formula begins with an apostrophe.",
        )
        .query::<LeadFilters>()
        .answer(StatusCode::OK, Some(Media::raw("text/csv")))
        .with_headers(&[Header { name: "content-disposition", about: "To be saved as `leads.csv`." }])
}

fn file_rows(rows: Result<Vec<Row>, DbError>) -> Result<Vec<u8>, ApiError> {
    let rows = rows?;
    let mut cells = Vec::with_capacity(rows.len());
    for row in &rows {
        let mut record = [None; COLUMNS.len()];
        for (index, cell) in record.iter_mut().enumerate() {
            *cell = row.try_get(index)?;
        }
        cells.push(record);
    }
    lines(cells)
}

fn lines<'a>(
    records: impl IntoIterator<Item = [Option<&'a str>; COLUMNS.len()]>,
) -> Result<Vec<u8>, ApiError> {
    let mut file = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(Vec::new());
    for record in records {
        let cells = record.map(|cell| guarded(cell.unwrap_or_default()));
        file.write_record(cells.iter().map(|cell| cell.as_bytes())).map_err(ApiError::internal)?;
    }
    file.into_inner().map_err(|error| ApiError::internal(error.into_error()))
}
