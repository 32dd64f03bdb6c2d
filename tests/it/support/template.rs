//! The names of all functions, and the text of the template.
use std::collections::BTreeSet;
use std::fs;

use super::{DEPLOYMENT, ENDPOINTS, FILES, SCHEDULES};

pub type Names = BTreeSet<String>;

/// The routes, what runs by the clock, what a deployment calls, and what answers with files.
pub fn functions() -> Names {
    let mut names: Names = ENDPOINTS.iter().map(|endpoint| endpoint.route.name.to_owned()).collect();
    names.insert(DEPLOYMENT.to_owned());
    for schedule in SCHEDULES.iter() {
        assert!(names.insert(schedule.name.to_owned()), "{} is a route, too", schedule.name);
    }
    for files in FILES.iter() {
        assert!(names.insert(files.name.to_owned()), "{} is a route, too", files.name);
    }
    names
}

pub fn read(path: &str) -> String {
    fs::read_to_string(dev::workspace().join(path)).unwrap()
}

/// The lines of one resource: up to the next that is indented as little.
pub fn block_of(template: &str, logical_id: &str) -> String {
    let mut lines = template.lines().skip_while(|line| line.trim_end() != format!("  {logical_id}:"));
    assert!(lines.next().is_some(), "{logical_id} is missing");
    let is_inside = |line: &&str| line.is_empty() || line.starts_with("    ");
    lines.take_while(is_inside).map(|line| format!("{line}\n")).collect()
}
