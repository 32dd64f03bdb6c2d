//! `cargo dev replay`: what a dealership's form has received, read anew as its mapping is now.
use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use parse_submissions::{Difference, Replay, Report, Request, SCHEDULE, changed, parse};
use serde_json::Value;
use shared::Job;
use shared::clock::Clock;
use shared::config::Settings;
use shared::db::Login;
use uuid::Uuid;

use crate::environment;
use crate::people::dealership;
use crate::progress::Step;
use crate::state::{Lock, State};
use crate::table::aligned;

/// What to read anew.
#[derive(Clone, Debug, clap::Args)]
pub struct ReplayForm {
    /// The dealership, by its id, or a seeded one by its slug
    #[arg(long)]
    pub org: String,
    /// Only what was received from then on, such as 2026-11-20T08:00:00Z
    #[arg(long)]
    pub since: Option<Timestamp>,
    /// Change nothing, and print what would change
    #[arg(long)]
    pub dry_run: bool,
}

/// Reads anew in the running stack, or in the database of DATABASE_URL_PARSER, and returns what to print.
///
/// # Errors
/// When there is no such dealership, the stack does not run, or the run fails; what was done until then stays.
pub async fn replay(options: &ReplayForm) -> Result<String> {
    let id = match dealership(&options.org) {
        Some(seeded) => seeded.id,
        None => Uuid::try_parse(&options.org)
            .with_context(|| format!("{} is neither a seeded dealership nor an id", options.org))?,
    };
    let job = Job::new(&SCHEDULE, settings()?, Clock::system()).await?;
    let replay = Replay { dealership_id: id, since: options.since, dry_run: options.dry_run };
    let step = Step::begin("reading what the form has received");
    let mut differences = Vec::new();
    let request = Request { replay: Some(replay) };
    let report = parse(&job, &request, &mut |difference| differences.push(difference)).await?;
    step.done(&format!("{} submissions read", report.read));
    Ok(format!("{}{}", table(&differences), sum(&report)))
}

fn settings() -> Result<Settings> {
    if environment::text(Login::Parser.setting()).is_some() {
        return Ok(Settings::from_env());
    }
    let state = State::load()?;
    ensure!(Lock::is_taken()?, "the stack is not running: start it with `cargo dev`");
    let variables = state.functions_environment();
    Ok(Settings::from_variables(variables.into_iter().map(|(name, value)| (name.to_owned(), value))))
}

/// A line for each field that differs: submission, field, before and after.
#[must_use]
pub fn table(differences: &[Difference]) -> String {
    let value = |picture: &Value, name: &str| match picture.get(name) {
        None => "-".to_owned(),
        Some(Value::String(text)) => text.replace('\n', " / "),
        Some(other) => other.to_string(),
    };
    let line = |difference: &Difference, name: &str| {
        let Difference { id, before, after } = difference;
        [id.to_string(), name.to_owned(), format!("{} -> {}", value(before, name), value(after, name))]
    };
    let lines: Vec<_> = differences
        .iter()
        .flat_map(|difference| {
            changed(&difference.before, &difference.after).map(|name| line(difference, name))
        })
        .collect();
    aligned(&lines)
}

fn sum(report: &Report) -> String {
    let Report { read, changed, unreadable, dry_run, .. } = report;
    let mut sum = format!("{read} submissions read: {changed} become another");
    if *unreadable > 0 {
        sum += &format!(", {unreadable} cannot be read any more");
    }
    if *dry_run {
        sum += "\nNothing was written. To write it, leave --dry-run out.";
    }
    sum
}
