//! Every day: asks Clerk's Backend API for all organizations, people and memberships, and makes the changes whose
//! events never came; then removes what was deleted long ago. `cargo dev sync-clerk` does the same by hand.
//!
//! Nothing here knows how a row follows Clerk: that is [`Change::statements`], the webhooks' own. So a reconciliation
//! beside webhooks does no harm, and a dry run, which rolls the same statements back, prints what a run would do.
mod absent;
mod api;
mod picture;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::config::{Settings, StartupError};
use shared::db::{DbError, Param, Statement};
use shared::{Job, Login, Schedule};
use tenancy::clerk::{Change, Malformed, Object};
use thiserror::Error;

use absent::{Absent, Seen};
pub use api::ClerkError;
use api::{Api, List};
pub use picture::Picture;
use picture::{Ids, who};

/// When it runs.
pub const SCHEDULE: Schedule = Schedule {
    name: "clerk-reconcile",
    expression: "rate(1 day)",
    login: Login::Provisioner,
    timeout_seconds: 900,
    settings: &["CLERK_API_URL", "CLERK_INSTANCE_ID", "CLERK_SECRET_KEY"],
    retries: 2,
    max_age_seconds: 21_600,
};

/// Who has been vouched for more recently is not removed: an answer of Clerk's may be a little old, and a tombstone
/// is for ever.
const SETTLED_AFTER: SignedDuration = SignedDuration::from_mins(10);
/// How long the rows of a deleted dealership stay: 30 days, in which a mistake can be told.
const GRACE: SignedDuration = SignedDuration::from_hours(30 * 24);
/// How long Clerk's messages stay: 90 days. Svix sends the same again for 28 hours, and by hand at any time; what
/// comes after that converges all the same.
const INBOX: SignedDuration = SignedDuration::from_hours(90 * 24);
/// Leads removed at once, with what hangs on them: far below the provisioner's timeout of 5 s.
const LEADS_AT_ONCE: i32 = 1_000;
/// Messages removed at once.
const MESSAGES_AT_ONCE: i64 = 5_000;

/// Until the transaction ends, nobody else makes a change about these two; the statements after it see all that was
/// committed before.
const LOCK: &str = "
    with locked as materialized (select scope.lock_clerk_id($1), scope.lock_clerk_id($2)) select from locked";

const ANY_KNOWN: &str =
    "select from dealerships where clerk_org_id = any ($1) and deleted_at is null limit 1";
const ANY_LIVING: &str = "select from dealerships where deleted_at is null limit 1";

const PURGE: &str = "select purged_leads, purged_dealerships from scope.purge($1, $2)";

/// By the rows' places: joined by their ids the planner reads the whole inbox.
const FORGET_MESSAGES: &str = "
    with forgotten as (
        delete from webhook_inbox where ctid = any (array(
            select ctid from webhook_inbox where received_at < $1 order by received_at limit $2))
        returning 1)
    select count(*) from forgotten";

/// What to do. An unknown field is refused, so that a mistyped `dry_run` writes nothing.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// To change nothing, and tell what would change.
    pub dry_run: bool,
    /// One organization alone, by its id or slug, with its members; then nothing is purged.
    #[serde(default)]
    pub organization_id: Option<String>,
}

/// Whom to ask.
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

/// What a run counted.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether nothing was written.
    pub dry_run: bool,
    /// What Clerk has.
    pub organizations: usize,
    /// What Clerk has.
    pub users: usize,
    /// What Clerk has.
    pub memberships: usize,
    /// Rows that were made, changed or ended.
    pub changed: usize,
    /// Rows that differ and stay so: see [`Outcome`].
    pub left_alone: usize,
    /// Dealerships whose grace period is over.
    pub purged_dealerships: i64,
    /// Their leads.
    pub purged_leads: i64,
    /// Old messages of Clerk's.
    pub forgotten_messages: i64,
}

/// What a run has to say while it works. Differences have personal data in them.
#[derive(Debug)]
pub enum News {
    /// A list has been read to its end; so many were in it.
    Read(Object, usize),
    /// Our row is not what Clerk says.
    Difference(Difference),
}

/// One of our rows that is not what Clerk says.
#[derive(Debug, PartialEq, Eq)]
pub struct Difference {
    /// What it is.
    pub object: Object,
    /// Clerk's ids: of a membership the organization's and the person's.
    pub who: String,
    /// The row as it was; none when there was none.
    pub before: Option<Picture>,
    /// The row as it is now, or would be; none when there is none.
    pub after: Option<Picture>,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The row follows Clerk.
    Changed,
    /// It stays: what we were told last is newer than Clerk's answer.
    Newer,
    /// It stays although Clerk does not know it: it was vouched for in the last minutes. The next run will see.
    Young,
    /// It stays: what Clerk answers about it lacks a field that we need.
    Unreadable,
}

/// Why a run stopped. What it did until then stays, and the next one goes on from there.
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
        /// The key's.
        theirs: String,
        /// The setting.
        ours: String,
    },
    /// Clerk knows none of our dealerships.
    #[error("Clerk knows none of our dealerships: is CLERK_SECRET_KEY of this instance? Nothing was changed")]
    NothingKnown,
    /// The one organization is neither Clerk's nor an id.
    #[error("Clerk has no organization {0}: to end one that it has deleted, give the id (org_…)")]
    NoSuchOrganization(String),
}

/// One run by the clock. What changed is personal data, so the log has the counts alone.
///
/// # Errors
/// As [`reconcile`].
pub async fn run(job: &Job, config: &Config, request: Request) -> Result<Report, Failure> {
    reconcile(job, config, &request, &mut |_| ()).await
}

/// Brings our rows to what Clerk says, and tells of each that differed.
///
/// # Errors
/// [`Failure`].
pub async fn reconcile(
    job: &Job,
    config: &Config,
    request: &Request,
    tell: &mut dyn FnMut(News),
) -> Result<Report, Failure> {
    let theirs = config.api.instance().await?;
    if let Some(ours) = config.instance_id.clone().filter(|ours| *ours != theirs) {
        return Err(Failure::OtherInstance { theirs, ours });
    }

    let settled = job.now() - SETTLED_AFTER;
    let report = Report { dry_run: request.dry_run, ..Report::default() };
    let mut run = Run { job, api: &config.api, settled, seen: Seen::default(), report, tell };
    let only = match &request.organization_id {
        Some(named) => Some(run.find(named).await?),
        None => None,
    };
    let only = only.as_deref();
    match only {
        None => {
            run.ensure_known().await?;
            run.follow(Object::Organization, None).await?;
        }
        Some(_) => run.told(Object::Organization),
    }
    if only.is_none() || !run.seen.organizations.is_empty() {
        run.follow(Object::User, only).await?;
        run.follow(Object::Membership, only).await?;
    }
    // Before any of them ends, since one may end with another.
    for absent in run.seen.absent(job, only).await? {
        run.ask(absent).await?;
    }
    if only.is_none() && !request.dry_run {
        run.clean_up().await?;
    }
    Ok(run.report)
}

struct Run<'a> {
    job: &'a Job,
    api: &'a Api,
    /// Before then, what Clerk does not know is no news to it.
    settled: Timestamp,
    seen: Seen,
    report: Report,
    tell: &'a mut dyn FnMut(News),
}

impl Run<'_> {
    /// The id of the one organization, which is followed if Clerk has it.
    async fn find(&mut self, named: &str) -> Result<String, Failure> {
        let Some(json) = self.api.organization(named).await? else {
            if !named.starts_with("org_") {
                return Err(Failure::NoSuchOrganization(named.to_owned()));
            }
            self.ensure_known().await?;
            return Ok(named.to_owned());
        };
        let change = Change::put(Object::Organization, &json)
            .map_err(|Malformed| Failure::NoSuchOrganization(named.to_owned()))?;
        let id = change.organization_id().unwrap_or_default().to_owned();
        self.seen.organizations.insert(id.clone());
        self.compare(Object::Organization, &[change]).await?;
        Ok(id)
    }

    /// Stops before the first change when the key is of an instance that our rows do not come from.
    async fn ensure_known(&self) -> Result<(), Failure> {
        let mut list = List::of(Object::Organization, None);
        let mut known = std::collections::HashSet::new();
        loop {
            let page = self.api.next(&mut list).await?;
            let ids: Vec<String> =
                page.iter().filter_map(|object| object["id"].as_str()).map(str::to_owned).collect();
            if !self.job.provisioning().query(ANY_KNOWN, &[&ids]).await?.is_empty() {
                return Ok(());
            }
            let before = known.len();
            known.extend(ids);
            if known.len() == before {
                break;
            }
        }
        match self.job.provisioning().query(ANY_LIVING, &[]).await?.is_empty() {
            true => Ok(()),
            false => Err(Failure::NothingKnown),
        }
    }

    /// Reads a list to its end, page by page, and makes what it has and we have not.
    async fn follow(&mut self, object: Object, only: Option<&str>) -> Result<(), Failure> {
        let mut list = List::of(object, only);
        loop {
            let page = self.api.next(&mut list).await?;
            let mut changes: Vec<Change> =
                page.iter().filter_map(|json| Change::put(object, json).ok()).collect();
            changes.retain(|change| self.seen.of(object).insert(who(change)));
            // The end is where nothing new comes, however large Clerk makes its pages.
            if changes.is_empty() {
                break;
            }
            self.compare(object, &changes).await?;
        }
        self.told(object);
        Ok(())
    }

    fn told(&mut self, object: Object) {
        let count = self.seen.of(object).len();
        match object {
            Object::Organization => self.report.organizations = count,
            Object::User => self.report.users = count,
            Object::Membership => self.report.memberships = count,
        }
        (self.tell)(News::Read(object, count));
    }

    async fn compare(&mut self, object: Object, changes: &[Change]) -> Result<(), Failure> {
        let ours = Ids::of(object, changes).pictures(self.job).await?;
        for change in changes {
            if !ours.get(&who(change)).is_some_and(|ours| ours.agrees(change)) {
                self.make(object, change).await?;
            }
        }
        Ok(())
    }

    /// A list can skip one, so what it lacks is asked for by itself before it ends.
    async fn ask(&mut self, absent: Absent) -> Result<(), Failure> {
        let (object, who) = (absent.object, absent.who());
        if absent.heard > self.settled {
            self.leave_alone(object, who, Outcome::Young);
            return Ok(());
        }
        // Whoever joins after this moment is spared.
        let at = self.job.now().as_millisecond();
        let (organization, user) = absent.ids();
        let found: Option<Value> = match object {
            Object::Organization => self.api.organization(organization).await?,
            Object::User => self.api.user(user).await?,
            Object::Membership => self.api.membership(organization, user).await?,
        };
        match found.map(|json| Change::put(object, &json)) {
            None => self.make(object, &absent.end(at)).await,
            Some(Ok(change)) => self.compare(object, &[change]).await,
            Some(Err(Malformed)) => {
                self.leave_alone(object, who, Outcome::Unreadable);
                Ok(())
            }
        }
    }

    /// Makes a change, or in a dry run undoes it in time, and tells what became of the row.
    async fn make(&mut self, object: Object, change: &Change) -> Result<(), Failure> {
        let scope = self.job.provisioning();
        let locks: [&dyn Param; 2] = [&change.organization_id(), &change.user_id()];
        let (open, _) = scope.open(LOCK, &locks).await?;
        let ids = Ids::of(object, [change]);
        let mut statements: Vec<Statement<'_>> = vec![ids.statement()];
        statements.extend(change.statements());
        statements.push(ids.statement());
        let rows = match self.report.dry_run {
            true => open.roll_back(&statements).await?,
            false => open.commit(&statements).await?,
        };
        let picture = |rows: Option<&Vec<_>>| rows.and_then(|rows| rows.first()).map(Picture::of).transpose();
        let (before, after) = (picture(rows.first())?, picture(rows.last())?);
        let outcome = match before == after {
            // A webhook came first.
            true if after.as_ref().is_some_and(|after| after.agrees(change)) => return Ok(()),
            true => Outcome::Newer,
            false => Outcome::Changed,
        };
        match outcome {
            Outcome::Changed => self.report.changed += 1,
            _ => self.report.left_alone += 1,
        }
        (self.tell)(News::Difference(Difference { object, who: who(change), before, after, outcome }));
        Ok(())
    }

    fn leave_alone(&mut self, object: Object, who: String, outcome: Outcome) {
        self.report.left_alone += 1;
        let difference = Difference { object, who, before: None, after: None, outcome };
        (self.tell)(News::Difference(difference));
    }

    /// Removes what was deleted, or received, long ago; in steps, each of which is committed by itself.
    async fn clean_up(&mut self) -> Result<(), Failure> {
        let (deleted, received) = (self.job.now() - GRACE, self.job.now() - INBOX);
        loop {
            let rows = self.job.provisioning().query(PURGE, &[&deleted, &LEADS_AT_ONCE]).await?;
            let (leads, dealerships) = pair(&rows)?;
            self.report.purged_leads += leads;
            self.report.purged_dealerships += dealerships;
            if (leads, dealerships) == (0, 0) {
                break;
            }
        }
        loop {
            let rows =
                self.job.provisioning().query(FORGET_MESSAGES, &[&received, &MESSAGES_AT_ONCE]).await?;
            let forgotten: i64 =
                rows.first().map(|row| row.try_get(0)).transpose().map_err(DbError::from)?.unwrap_or(0);
            self.report.forgotten_messages += forgotten;
            if forgotten < MESSAGES_AT_ONCE {
                return Ok(());
            }
        }
    }
}

fn pair(rows: &[shared::db::Row]) -> Result<(i64, i64), DbError> {
    rows.first().map_or(Ok((0, 0)), |row| Ok((row.try_get(0)?, row.try_get(1)?)))
}
