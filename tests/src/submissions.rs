//! The job that parses submissions, in this process.
use parse_submissions::{Difference, Report, Request, SCHEDULE};
use shared::Job;
use shared::clock::Clock;
use shared::config::Settings;

use super::World;

/// What a run has done, and the differences that it reported.
pub async fn parse(world: &World, request: Request) -> (Report, Vec<Difference>) {
    let settings = Settings::from_variables(world.variables());
    let job = Job::new(&SCHEDULE, settings, Clock::system()).await.unwrap();
    let mut differences = Vec::new();
    let mut report = |difference| differences.push(difference);
    let done = parse_submissions::parse(&job, &request, &mut report).await.unwrap();
    (done, differences)
}

/// Files what was received and is not filed yet, as the scheduler's event does.
pub async fn file_left(world: &World) -> Report {
    parse(world, Request::default()).await.0
}
