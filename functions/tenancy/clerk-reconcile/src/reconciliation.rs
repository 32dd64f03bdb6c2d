//! One run: read Clerk's lists, apply what differs, end what Clerk no longer has, and clean up.
use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use shared::Job;
use shared::db::{DbError, NamedSql, Param, Statement};
use tenancy::clerk::{Change, Malformed, Object};

use crate::absent::{Absent, Seen};
use crate::api::{Api, List};
use crate::snapshot::{Ids, RowSnapshot, clerk_ids};
use crate::{Difference, Failure, Outcome, Progress, Report};

/// How long the rows of a deleted dealership stay: 30 days, in which a deletion by mistake can be noticed.
const GRACE: SignedDuration = SignedDuration::from_hours(30 * 24);
/// How long Clerk's messages stay: 90 days. Svix repeats a message for 28 hours, and by hand at any time; a message that
/// is repeated later does no harm, since its change is applied only if it is the newest.
const INBOX: SignedDuration = SignedDuration::from_hours(90 * 24);
/// Leads removed in one statement, with what belongs to them: far below the provisioner's timeout of 5 s.
const LEADS_AT_ONCE: i32 = 1_000;
/// Messages removed in one statement.
const MESSAGES_AT_ONCE: i64 = 5_000;

/// Until the transaction ends, no other change about these two ids is applied. The statements after this one see all
/// that was committed before.
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

pub(crate) const STATEMENTS: &[NamedSql] = &[
    ("lock", LOCK),
    ("any_known", ANY_KNOWN),
    ("any_living", ANY_LIVING),
    ("purge", PURGE),
    ("forget_messages", FORGET_MESSAGES),
];

pub(crate) struct Reconciliation<'a> {
    pub(crate) job: &'a Job,
    pub(crate) api: &'a Api,
    /// A row that was confirmed after this time is not ended.
    pub(crate) settled_before: Timestamp,
    pub(crate) seen: Seen,
    pub(crate) report: Report,
    pub(crate) on_progress: &'a mut dyn FnMut(Progress),
}

impl Reconciliation<'_> {
    /// Reconciles everything, or one organization, by its id or slug, with its members.
    pub(crate) async fn run(mut self, organization: Option<&str>) -> Result<Report, Failure> {
        let only = match organization {
            Some(id_or_slug) => Some(self.reconcile_organization(id_or_slug).await?),
            None => None,
        };
        let only = only.as_deref();
        match only {
            None => {
                self.ensure_known().await?;
                self.reconcile_list(Object::Organization, None).await?;
            }
            Some(_) => self.report_list(Object::Organization),
        }
        if only.is_none() || !self.seen.organizations.is_empty() {
            self.reconcile_list(Object::User, only).await?;
            self.reconcile_list(Object::Membership, only).await?;
        }
        // All are read before the first of them ends, since one may end with another.
        for absent in self.seen.absent(self.job, only).await? {
            self.reconcile_absent(absent).await?;
        }
        if only.is_none() && !self.report.dry_run {
            self.clean_up().await?;
        }
        Ok(self.report)
    }

    /// Compares the one organization, if Clerk has it, and returns its id.
    async fn reconcile_organization(&mut self, id_or_slug: &str) -> Result<String, Failure> {
        let Some(json) = self.api.organization(id_or_slug).await? else {
            if !id_or_slug.starts_with("org_") {
                return Err(Failure::NoSuchOrganization(id_or_slug.to_owned()));
            }
            self.ensure_known().await?;
            return Ok(id_or_slug.to_owned());
        };
        let change = Change::put(Object::Organization, &json)
            .map_err(|Malformed| Failure::NoSuchOrganization(id_or_slug.to_owned()))?;
        let id = change.organization_id().unwrap_or_default().to_owned();
        self.seen.organizations.insert(id.clone());
        self.compare(Object::Organization, &[change]).await?;
        Ok(id)
    }

    /// Stops before the first change when the key is of an instance that our rows do not come from.
    async fn ensure_known(&self) -> Result<(), Failure> {
        let mut list = List::of(Object::Organization, None);
        let mut known = HashSet::new();
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

    /// Reads a list to its end, page by page, and applies what differs.
    async fn reconcile_list(&mut self, object: Object, only: Option<&str>) -> Result<(), Failure> {
        let mut list = List::of(object, only);
        loop {
            let page = self.api.next(&mut list).await?;
            let mut changes: Vec<Change> =
                page.iter().filter_map(|json| Change::put(object, json).ok()).collect();
            changes.retain(|change| self.seen.of(object).insert(clerk_ids(change)));
            // A page without new objects is the end, however large Clerk makes its pages.
            if changes.is_empty() {
                break;
            }
            self.compare(object, &changes).await?;
        }
        self.report_list(object);
        Ok(())
    }

    fn report_list(&mut self, object: Object) {
        let count = self.seen.of(object).len();
        match object {
            Object::Organization => self.report.organizations = count,
            Object::User => self.report.users = count,
            Object::Membership => self.report.memberships = count,
        }
        (self.on_progress)(Progress::ListRead(object, count));
    }

    /// Applies those of the changes with which our rows do not agree.
    async fn compare(&mut self, object: Object, changes: &[Change]) -> Result<(), Failure> {
        let ours = Ids::of(object, changes).snapshots(self.job).await?;
        for change in changes {
            if !ours.get(&clerk_ids(change)).is_some_and(|ours| ours.agrees(change)) {
                self.apply(object, change).await?;
            }
        }
        Ok(())
    }

    /// Clerk's pages can skip an object, so each missing one is requested by id before its row is ended.
    async fn reconcile_absent(&mut self, absent: Absent) -> Result<(), Failure> {
        let object = absent.object;
        if absent.last_confirmed_at > self.settled_before {
            self.leave_alone(object, absent.clerk_ids(), Outcome::TooRecent);
            return Ok(());
        }
        // Taken before the request: an object that is made after this moment is not ended.
        let at = self.job.now().as_millisecond();
        let (organization, user) = absent.ids();
        let found: Option<Value> = match object {
            Object::Organization => self.api.organization(organization).await?,
            Object::User => self.api.user(user).await?,
            Object::Membership => self.api.membership(organization, user).await?,
        };
        match found.map(|json| Change::put(object, &json)) {
            None => self.apply(object, &absent.end(at)).await,
            Some(Ok(change)) => self.compare(object, &[change]).await,
            Some(Err(Malformed)) => {
                self.leave_alone(object, absent.clerk_ids(), Outcome::Unreadable);
                Ok(())
            }
        }
    }

    /// Applies a change, or in a dry run applies it and rolls it back, and reports the difference that it makes.
    async fn apply(&mut self, object: Object, change: &Change) -> Result<(), Failure> {
        let scope = self.job.provisioning();
        let locks: [&dyn Param; 2] = [&change.organization_id(), &change.user_id()];
        let (transaction, _) = scope.open(LOCK, &locks).await?;
        let ids = Ids::of(object, [change]);
        let mut statements: Vec<Statement<'_>> = vec![ids.statement()];
        statements.extend(change.statements());
        statements.push(ids.statement());
        let rows = match self.report.dry_run {
            true => transaction.roll_back(&statements).await?,
            false => transaction.commit(&statements).await?,
        };
        let snapshot =
            |rows: Option<&Vec<_>>| rows.and_then(|rows| rows.first()).map(RowSnapshot::of).transpose();
        let (before, after) = (snapshot(rows.first())?, snapshot(rows.last())?);
        let outcome = match before == after {
            // A webhook came first.
            true if after.as_ref().is_some_and(|after| after.agrees(change)) => return Ok(()),
            true => Outcome::Newer,
            false => Outcome::Changed,
        };
        self.report_difference(Difference { object, clerk_ids: clerk_ids(change), before, after, outcome });
        Ok(())
    }

    fn leave_alone(&mut self, object: Object, clerk_ids: String, outcome: Outcome) {
        self.report_difference(Difference { object, clerk_ids, before: None, after: None, outcome });
    }

    fn report_difference(&mut self, difference: Difference) {
        match difference.outcome {
            Outcome::Changed => self.report.changed += 1,
            Outcome::Newer | Outcome::TooRecent | Outcome::Unreadable => self.report.left_alone += 1,
        }
        (self.on_progress)(Progress::Difference(difference));
    }

    /// Removes what was deleted, or received, long ago; in steps, each of which is committed by itself.
    async fn clean_up(&mut self) -> Result<(), Failure> {
        let (deleted, received) = (self.job.now() - GRACE, self.job.now() - INBOX);
        loop {
            let rows = self.job.provisioning().query(PURGE, &[&deleted, &LEADS_AT_ONCE]).await?;
            let purged = rows.first().map(|row| Ok::<_, DbError>((row.try_get(0)?, row.try_get(1)?)));
            let (leads, dealerships) = purged.transpose()?.unwrap_or((0, 0));
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
