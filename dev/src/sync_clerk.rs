//! `cargo dev sync-clerk`: the scheduled reconciliation with Clerk, by hand and with a table of what differs.
use anyhow::{Result, bail, ensure};
use clerk_reconcile::{
    Config, Difference, Outcome, Progress, Report, Request, RowSnapshot, SCHEDULE, reconcile,
};
use shared::Job;
use shared::clock::Clock;
use shared::config::Settings;
use shared::db::Login;
use tenancy::clerk::Object;

use crate::environment;
use crate::progress::Step;
use crate::state::{Lock, State};
use crate::table::aligned;

/// What to compare.
#[derive(Clone, Debug, clap::Args)]
pub struct SyncClerk {
    /// One organization alone, by its slug or id (org_...), with its members
    #[arg(long)]
    pub org: Option<String>,
    /// Change nothing, and print what would change
    #[arg(long)]
    pub dry_run: bool,
}

/// Reconciles the running stack with Clerk's stand-in, or the database of DATABASE_URL_PROVISIONER with the Clerk of
/// CLERK_SECRET_KEY, and returns what to print.
///
/// # Errors
/// When only one of the two is set, the stack does not run, or the run fails; what was done until then stays.
pub async fn sync(options: &SyncClerk) -> Result<String> {
    let job = Job::new(&SCHEDULE, settings()?, Clock::system()).await?;
    let config = Config::read(job.settings()).await?;
    let request = Request { dry_run: options.dry_run, organization_id: options.org.clone() };
    let (mut step, mut differences) = (Some(Step::begin("asking Clerk")), Vec::new());
    let mut on_progress = |progress| match progress {
        Progress::ListRead(object, count) => {
            if let Some(step) = step.take() {
                step.done(&format!("{count} {}", plural(object)));
            }
            step = Some(Step::begin("comparing"));
        }
        Progress::Difference(difference) => differences.push(difference),
    };
    let report = reconcile(&job, &config, &request, &mut on_progress).await?;
    if let Some(step) = step.take() {
        step.done("compared");
    }
    Ok(format!("{}{}", table(&differences), sum(&report)))
}

/// Never a mixture: the local database would be made to follow somebody else's Clerk, or the other way round.
fn settings() -> Result<Settings> {
    let given =
        ["CLERK_SECRET_KEY", Login::Provisioner.setting()].map(|name| environment::text(name).is_some());
    match given {
        [true, true] => Ok(Settings::from_env()),
        [false, false] => {
            let state = State::load()?;
            ensure!(Lock::is_taken()?, "the stack is not running: start it with `cargo dev`");
            let variables = state.functions_environment();
            Ok(Settings::from_variables(variables.into_iter().map(|(name, value)| (name.to_owned(), value))))
        }
        _ => bail!(
            "set both CLERK_SECRET_KEY and {}, or neither for the local stack",
            Login::Provisioner.setting()
        ),
    }
}

/// A line for each field that differs: the kind of row, its Clerk ids, and the field before and after.
#[must_use]
pub fn table(differences: &[Difference]) -> String {
    let mut lines = Vec::new();
    for Difference { object, clerk_ids, before, after, outcome } in differences {
        let what = match object {
            Object::Organization => "organization",
            Object::User => "user",
            Object::Membership => "membership",
        };
        let mut line = |text: String| lines.push([what.to_owned(), clerk_ids.clone(), text]);
        match outcome {
            Outcome::Changed => fields(before.as_ref(), after.as_ref()).into_iter().for_each(line),
            Outcome::Newer => line("left alone: our last event is newer than Clerk's answer".to_owned()),
            Outcome::TooRecent => {
                line("left alone: not at Clerk, but confirmed in the last 10 minutes".to_owned())
            }
            Outcome::Unreadable => line("left alone: Clerk's answer lacks a field".to_owned()),
        }
    }
    aligned(&lines)
}

/// `name: Tesla -> Tesla Oslo` for each field of a row that is another one afterwards.
fn fields(before: Option<&RowSnapshot>, after: Option<&RowSnapshot>) -> Vec<String> {
    let names = after.or(before).into_iter().flat_map(RowSnapshot::fields);
    let value = |row: Option<&RowSnapshot>, name: &str| row.and_then(|row| row.get(name)).map(str::to_owned);
    let changes = names.map(|name| (name, value(before, name), value(after, name)));
    let shown = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let changed = changes.filter(|(_, before, after)| before != after);
    changed.map(|(name, before, after)| format!("{name}: {} -> {}", shown(before), shown(after))).collect()
}

fn sum(report: &Report) -> String {
    let Report { organizations, users, memberships, changed, left_alone, .. } = report;
    let become_so = if report.dry_run { "would change" } else { "changed" };
    let mut sum = format!(
        "At Clerk: {organizations} organizations, {users} people, {memberships} memberships. \
         Here: {changed} rows {become_so}, {left_alone} left alone."
    );
    if report.dry_run {
        sum += "\nNothing was written. To write it, leave --dry-run out.";
        return sum;
    }
    for (count, what) in [
        (report.purged_dealerships, "dealerships deleted more than 30 days ago"),
        (report.purged_leads, "of their leads"),
        (report.forgotten_messages, "webhook messages older than 90 days"),
    ] {
        if count > 0 {
            sum += &format!("\nremoved {count} {what}");
        }
    }
    sum
}

fn plural(object: Object) -> &'static str {
    match object {
        Object::Organization => "organizations",
        Object::User => "people",
        Object::Membership => "memberships",
    }
}
