//! What the README says is so.
use std::fs;

use crate::support::{ENDPOINTS, SCHEDULES};

fn read(path: &str) -> String {
    fs::read_to_string(dev::workspace().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What stands between backticks outside of code blocks.
fn quoted(text: &str) -> Vec<String> {
    let prose: String = text.split("```").step_by(2).collect();
    prose.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// As in `routes::an_event_and_a_test_file_for_each_route`.
fn is_test(name: &str) -> bool {
    name.contains("::")
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_:".contains(c))
}

#[test]
fn each_test_it_names_exists() {
    let mut named = 0;
    for text in [read("README.md"), read("migrations/README.md")] {
        for name in quoted(&text).iter().filter(|name| is_test(name)) {
            let (module, test) = name.rsplit_once("::").unwrap();
            let source = read(&format!("tests/it/{}.rs", module.replace("::", "/")));
            assert!(source.contains(&format!("fn {test}(")), "{name} does not exist");
            named += 1;
        }
    }
    assert!(named > 20, "only {named} found");
}

#[test]
fn each_path_it_names_exists() {
    let folders = ["functions/", "shared/", "migrations/", "tests/", "events/", "dev/"];
    let mut named = 0;
    for name in quoted(&read("README.md")) {
        if folders.iter().any(|folder| name.starts_with(folder)) && !name.contains(['<', '…']) {
            assert!(dev::workspace().join(&name).exists(), "{name} does not exist");
            named += 1;
        }
    }
    assert!(named > 10, "only {named} found");
}

#[test]
fn its_tables_have_each_route_and_schedule() {
    for endpoint in ENDPOINTS.iter() {
        let route = endpoint.route;
        let row = format!("| `{} {}` | `{}` |", route.method, route.path, route.name);
        assert!(read("README.md").contains(&row), "{row} is missing");
    }
    for schedule in SCHEDULES.iter() {
        let row = format!("| `{}` | `{}` |", schedule.expression, schedule.name);
        assert!(read("README.md").contains(&row), "{row} is missing");
    }
}
