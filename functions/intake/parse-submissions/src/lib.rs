//! Every minute: files accepted submissions that were stored but never filed, because their process ended.
//!
//! By hand, also as `cargo dev replay`: reads a dealership's submissions again under its current mapping and updates
//! the leads that they made. A dry run rolls the same statements back and reports what would change. It looks at each
//! submission alone: it ignores what an earlier submission on the same lead would change.
use std::collections::BTreeMap;

use intake::{Enquiry, Form, Mapping};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use shared::db::{DbError, Row, Scope};
use shared::fields;
use shared::{ApiError, Job, Login, Schedule};
use uuid::Uuid;

/// When it runs.
pub const SCHEDULE: Schedule = Schedule {
    name: "parse-submissions",
    summary: "File the submissions that were stored and not filed",
    expression: "rate(1 minute)",
    login: Login::Parser,
    timeout_seconds: 300,
    settings: &[],
    statements: &[&[
        ("waiting", WAITING),
        ("mapping", MAPPING),
        ("unfiled", UNFILED),
        ("received", RECEIVED),
        ("picture", PICTURE),
        ("refile", REFILE),
    ]],
    retries: 0,
    max_age_seconds: 300,
};

/// Submissions read at once, of up to 64 KiB each.
const AT_ONCE: i64 = 100;

const WAITING: &str = "select dealership from scope.dealerships_to_parse() dealership";

const MAPPING: &str = "select version, fields from form_mappings order by version desc limit 1";

/// Without those of the last minute: their own process is about to file them.
const UNFILED: &str = "
    select id, received_at, content_type, body, enquiry, filed_at is not null as is_filed from submissions
     where verdict = 'accepted' and filed_at is null and received_at < now() - interval '1 minute'
       and (received_at, id) > ($1, $2)
     order by received_at, id limit $3";

const RECEIVED: &str = "
    select id, received_at, content_type, body, enquiry, filed_at is not null as is_filed from submissions
     where verdict <> 'spam' and (received_at, id) > ($1, $2)
     order by received_at, id limit $3";

const PICTURE: &str = "select scope.picture_of_submission($1) as picture";
const REFILE: &str = "select scope.refile_submission($1, $2, $3)";

/// The work of a run: by default it files what is left. An unknown field is refused, so that a mistyped `dry_run`
/// writes nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Reads submissions again.
    #[serde(default)]
    pub replay: Option<Replay>,
}

/// The submissions to read again.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replay {
    /// The dealership that received them.
    pub dealership_id: Uuid,
    /// Only submissions received since then; all by default.
    #[serde(default)]
    pub since: Option<Timestamp>,
    /// Whether to change nothing and report what would change.
    pub dry_run: bool,
}

/// The counts of a run.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether nothing was written.
    pub dry_run: bool,
    /// Submissions that were read.
    pub read: usize,
    /// Submissions that got a lead, or changed one.
    pub changed: usize,
    /// Submissions that can no longer be read; they stay as they are.
    pub unreadable: usize,
    /// The age in seconds of the oldest submission that was left to file, even if it could not be filed; 0 if there was
    /// none, and for a replay. An alarm watches it (`template.yaml`).
    pub waiting_seconds: i64,
    /// For each field, in how many of the changed submissions it differs.
    pub fields: BTreeMap<String, usize>,
}

/// A submission that changed. It has personal data in it.
#[derive(Debug, PartialEq, Eq)]
pub struct Difference {
    /// The submission.
    pub id: Uuid,
    /// The verdict, and the sender's words on the lead, before.
    pub before: Value,
    /// The same after the change, or as they would be.
    pub after: Value,
}

/// One run by the clock. Differences are personal data, so only the counts are logged.
///
/// # Errors
/// As [`parse`].
pub async fn run(job: &Job, request: Request) -> Result<Report, DbError> {
    parse(job, &request, &mut |_| ()).await
}

/// Files what is left, or reads submissions again, and reports each submission that changed.
///
/// # Errors
/// [`DbError`]. What the run did until then stays, and the next run goes on from there.
pub async fn parse(
    job: &Job,
    request: &Request,
    on_difference: &mut dyn FnMut(Difference),
) -> Result<Report, DbError> {
    let dry_run = request.replay.as_ref().is_some_and(|replay| replay.dry_run);
    let mut run = Run { job, report: Report { dry_run, ..Report::default() }, on_difference };
    match &request.replay {
        Some(replay) => run.go_through(RECEIVED, replay.dealership_id, replay.since).await?,
        None => {
            for row in job.parsing(None).query(WAITING, &[]).await? {
                run.go_through(UNFILED, row.try_get("dealership")?, None).await?;
            }
        }
    }
    Ok(run.report)
}

struct Run<'a> {
    job: &'a Job,
    report: Report,
    on_difference: &'a mut dyn FnMut(Difference),
}

impl Run<'_> {
    async fn go_through(
        &mut self,
        sql: &'static str,
        dealership: Uuid,
        since: Option<Timestamp>,
    ) -> Result<(), DbError> {
        let scope = || self.job.parsing(Some(dealership));
        let (version, mapping) = match scope().query(MAPPING, &[]).await?.first() {
            None => (0, Mapping::default()),
            Some(row) => (row.try_get("version")?, fields::read(row.try_get("fields")?).unwrap_or_default()),
        };
        let (mut at, mut id) = (since.unwrap_or(Timestamp::UNIX_EPOCH), Uuid::nil());
        loop {
            let page = scope().query(sql, &[&at, &id, &AT_ONCE]).await?;
            for row in &page {
                (at, id) = (row.try_get("received_at")?, row.try_get("id")?);
                self.report.read += 1;
                if sql == UNFILED {
                    let age = self.job.now().duration_since(at).as_secs();
                    self.report.waiting_seconds = self.report.waiting_seconds.max(age);
                }
                let Ok(enquiry) = read(row, &mapping).await else {
                    self.report.unreadable += 1;
                    continue;
                };
                let was: Option<Value> = row.try_get("enquiry")?;
                if !row.try_get::<_, bool>("is_filed")? || was.as_ref() != Some(&enquiry) {
                    self.refile(&scope(), id, &enquiry, version).await?;
                }
            }
            if page.is_empty() {
                return Ok(());
            }
        }
    }

    async fn refile(
        &mut self,
        scope: &Scope<'_>,
        id: Uuid,
        enquiry: &Value,
        version: i32,
    ) -> Result<(), DbError> {
        let (transaction, rows) = scope.open(PICTURE, &[&id]).await?;
        let before = picture(&rows)?;
        let statements = [(REFILE, vec![&id as _, enquiry as _, &version as _]), (PICTURE, vec![&id as _])];
        let rows = match self.report.dry_run {
            true => transaction.roll_back(&statements).await?,
            false => transaction.commit(&statements).await?,
        };
        let after = picture(rows.last().map(Vec::as_slice).unwrap_or_default())?;
        if before != after {
            self.report.changed += 1;
            for field in changed(&before, &after) {
                *self.report.fields.entry(field.to_owned()).or_default() += 1;
            }
            (self.on_difference)(Difference { id, before, after });
        }
        Ok(())
    }
}

async fn read(row: &Row, mapping: &Mapping) -> Result<Value, ApiError> {
    let form = Form::read(row.try_get("content_type")?, row.try_get("body")?).await?;
    serde_json::to_value(Enquiry::read(&form, mapping)).map_err(ApiError::internal)
}

fn picture(rows: &[Row]) -> Result<Value, DbError> {
    let picture: Option<Option<Value>> = rows.first().map(|row| row.try_get("picture")).transpose()?;
    Ok(picture.flatten().unwrap_or_default())
}

/// The names of the fields in which two pictures differ.
pub fn changed<'a>(before: &'a Value, after: &'a Value) -> impl Iterator<Item = &'a str> {
    let names = |picture: &'a Value| picture.as_object().into_iter().flat_map(Map::keys).map(String::as_str);
    let only_before = names(before).filter(|name| after.get(name).is_none());
    names(after).filter(|name| before.get(name) != after.get(name)).chain(only_before)
}
