//! Every day: reads all organizations, people and memberships from Clerk's Backend API and applies the changes whose
//! events never came; then removes what was deleted long ago. `cargo dev sync-clerk` does the same by hand.
//!
//! How a row follows Clerk is decided by [`Change::statements`](tenancy::clerk::Change::statements), as for webhooks. So a
//! reconciliation beside webhooks does no harm, and a dry run, which rolls the same statements back, reports what a run
//! would do.
mod absent;
mod api;
mod reconciliation;
mod snapshot;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use shared::config::{Settings, StartupError};
use shared::db::DbError;
use shared::{Job, Login, Schedule};
use tenancy::clerk::{self, Object};
use thiserror::Error;

use absent::Seen;
use api::Api;
pub use api::ClerkError;
use reconciliation::Reconciliation;
pub use snapshot::RowSnapshot;

/// When it runs.
pub const SCHEDULE: Schedule = Schedule {
    name: "clerk-reconcile",
    summary: "Apply what Clerk's webhooks did not deliver; purge dealerships 30 days after their deletion, and messages after 90 days",
    expression: "rate(1 day)",
    login: Login::Provisioner,
    timeout_seconds: 900,
    settings: &["CLERK_API_URL", "CLERK_INSTANCE_ID", "CLERK_SECRET_KEY"],
    statements: &[reconciliation::STATEMENTS, absent::STATEMENTS, snapshot::STATEMENTS, clerk::STATEMENTS],
    retries: 2,
    max_age_seconds: 21_600,
};

/// A row that was confirmed more recently is not ended: Clerk's answer may be a little old, and an end is for ever.
const SETTLED_AFTER: SignedDuration = SignedDuration::from_mins(10);

/// What to do. An unknown field is refused, so that a mistyped `dry_run` writes nothing.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Whether to change nothing and report what would change.
    pub dry_run: bool,
    /// One organization alone, by its id or slug, with its members; then nothing is purged.
    #[serde(default)]
    pub organization_id: Option<String>,
}

/// Clerk's API, and which instance it must be.
pub struct Config {
    api: Api,
    /// The instance that the key must be of, if it is set.
    instance_id: Option<String>,
}

impl Config {
    /// Reads `CLERK_SECRET_KEY`, `CLERK_API_URL` and `CLERK_INSTANCE_ID`.
    ///
    /// # Errors
    /// When the key is missing, or the URL is one that anybody on the way could answer.
    pub async fn read(settings: &Settings) -> Result<Self, StartupError> {
        let instance_id = settings.optional("CLERK_INSTANCE_ID").await?;
        Ok(Self { api: Api::read(settings).await?, instance_id })
    }
}

/// The counts of a run.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether nothing was written.
    pub dry_run: bool,
    /// Organizations at Clerk.
    pub organizations: usize,
    /// People at Clerk.
    pub users: usize,
    /// Memberships at Clerk.
    pub memberships: usize,
    /// Rows that were made, changed or ended.
    pub changed: usize,
    /// Rows that differ and stay so: see [`Outcome`].
    pub left_alone: usize,
    /// Dealerships that were removed after their grace period.
    pub purged_dealerships: i64,
    /// Their leads.
    pub purged_leads: i64,
    /// Old messages of Clerk's that were removed.
    pub forgotten_messages: i64,
}

/// What a run reports while it works. Differences have personal data in them.
#[derive(Debug)]
pub enum Progress {
    /// A list has been read to its end, and had so many objects.
    ListRead(Object, usize),
    /// A row of ours differs from Clerk.
    Difference(Difference),
}

/// A row of ours that differs from Clerk.
#[derive(Debug, PartialEq, Eq)]
pub struct Difference {
    /// The kind of row.
    pub object: Object,
    /// Clerk's id; of a membership the organization's and the person's, separated by a space.
    pub clerk_ids: String,
    /// The row as it was, if there was one.
    pub before: Option<RowSnapshot>,
    /// The row as it is now, or would be, if there is one.
    pub after: Option<RowSnapshot>,
    /// What became of the row.
    pub outcome: Outcome,
}

/// What became of a row that differed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The row now agrees with Clerk.
    Changed,
    /// The row stays: our last event is newer than Clerk's answer.
    Newer,
    /// The row stays although Clerk does not have it: it was confirmed in the last minutes. The next run decides.
    TooRecent,
    /// The row stays: Clerk's answer lacks a field that we need.
    Unreadable,
}

/// Why a run stopped. What it did until then stays, and the next run goes on from there.
#[derive(Debug, Error)]
pub enum Failure {
    /// Clerk gave no answer.
    #[error(transparent)]
    Clerk(#[from] ClerkError),
    /// The database refused, or is down.
    #[error(transparent)]
    Database(#[from] DbError),
    /// The key is of another instance than ours.
    #[error(
        "CLERK_SECRET_KEY is of the instance {theirs}, and CLERK_INSTANCE_ID is {ours}: nothing was changed"
    )]
    OtherInstance {
        /// The key's instance.
        theirs: String,
        /// The setting.
        ours: String,
    },
    /// Clerk has none of our dealerships.
    #[error("Clerk knows none of our dealerships: is CLERK_SECRET_KEY of this instance? Nothing was changed")]
    NothingKnown,
    /// The one organization is neither Clerk's nor an id.
    #[error("Clerk has no organization {0}: to end one that it has deleted, give the id (org_…)")]
    NoSuchOrganization(String),
}

/// One run by the clock. What changed is personal data, so only the counts are logged.
///
/// # Errors
/// As [`reconcile`].
pub async fn run(job: &Job, config: &Config, request: Request) -> Result<Report, Failure> {
    reconcile(job, config, &request, &mut |_| ()).await
}

/// Makes our rows agree with Clerk, and calls `on_progress` with each row that differed.
///
/// # Errors
/// [`Failure`].
pub async fn reconcile(
    job: &Job,
    config: &Config,
    request: &Request,
    on_progress: &mut dyn FnMut(Progress),
) -> Result<Report, Failure> {
    let theirs = config.api.instance().await?;
    if let Some(ours) = config.instance_id.clone().filter(|ours| *ours != theirs) {
        return Err(Failure::OtherInstance { theirs, ours });
    }
    let settled_before = job.now() - SETTLED_AFTER;
    let report = Report { dry_run: request.dry_run, ..Report::default() };
    Reconciliation { job, api: &config.api, settled_before, seen: Seen::default(), report, on_progress }
        .run(request.organization_id.as_deref())
        .await
}
