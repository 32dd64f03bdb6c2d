//! What the documents say of every function, made of the registry by `cargo dev stacks`.
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;

use anyhow::{Context, Result};
use registry::{AREAS, Function};
use shared::{Caller, Endpoint, Permission};

/// The function that README shows whole.
const SPECIMEN: &str = "functions/leads/get-lead/src/lib.rs";

/// Every document with a part that is made, by its path in the checkout.
///
/// # Errors
/// A document cannot be read, or has no place for its part.
pub fn generated() -> Result<BTreeMap<String, String>> {
    let specimen = fs::read_to_string(crate::workspace().join(SPECIMEN)).context(SPECIMEN)?;
    let readme = filled("README.md", &[("map", map()), ("get-lead", format!("```rust\n{specimen}```\n"))])?;
    let routes = filled("docs/ROUTES.md", &[("routes", routes())])?;
    Ok([("README.md".to_owned(), readme), ("docs/ROUTES.md".to_owned(), routes)].into())
}

/// A document with these parts between their marks, `<!-- map -->` and `<!-- /map -->`.
fn filled(path: &str, parts: &[(&str, String)]) -> Result<String> {
    let mut text = fs::read_to_string(crate::workspace().join(path)).with_context(|| path.to_owned())?;
    for (name, part) in parts {
        let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->\n"));
        let (before, rest) = text.split_once(&begin).with_context(|| format!("{path} has no {begin}"))?;
        let (_, after) = rest.split_once(&end).with_context(|| format!("{path} has no {end}"))?;
        text = format!("{before}{begin}{part}{end}{after}");
    }
    Ok(text)
}

/// The areas with their functions.
fn map() -> String {
    let mut table = "| folder | what | functions |\n|---|---|---|\n".to_owned();
    for area in &AREAS {
        let names: Vec<&str> = area.functions.iter().map(Function::name).collect();
        let _ = writeln!(table, "| `functions/{}` | {} | {} |", area.name, area.about, names.join(", "));
    }
    table
}

/// The routes with their callers, and the schedules.
fn routes() -> String {
    let mut table = "| route | function | callers | what |\n|---|---|---|---|\n".to_owned();
    let mut schedules = "\n| schedule | function | what |\n|---|---|---|\n".to_owned();
    for (_, function) in registry::functions() {
        let _ = match function {
            Function::Route(endpoint) => {
                let (route, summary) = (endpoint.route, (endpoint.operation)().summary);
                let callers = callers(endpoint);
                writeln!(
                    table,
                    "| `{} {}` | `{}` | {callers} | {summary} |",
                    route.method, route.path, route.name
                )
            }
            Function::Files(files) => {
                let paths: Vec<String> =
                    files.files.iter().map(|file| format!("`GET {}`", file.path)).collect();
                writeln!(table, "| {} | `{}` | anyone | {} |", paths.join(", "), files.name, files.summary)
            }
            Function::Schedule(scheduled) => {
                let schedule = scheduled.schedule;
                let (expression, summary) = (schedule.expression, schedule.summary);
                writeln!(schedules, "| `{expression}` | `{}` | {summary} |", schedule.name)
            }
            Function::Deployment(_) => Ok(()),
        };
    }
    table + &schedules
}

/// The roles that may call, and which of them sees its own leads alone.
fn callers(endpoint: &Endpoint) -> String {
    if endpoint.route.caller == Caller::Public {
        return "anyone".to_owned();
    }
    let operation = (endpoint.operation)();
    let Some(permissions) = &operation.permissions else { return "every member".to_owned() };
    let wide: Vec<Permission> = permissions
        .iter()
        .copied()
        .filter(|permission| *permission != Permission::LeadsViewAssigned)
        .collect();
    let named = operation.roles().into_iter().map(|role| match role.has_any(&wide) {
        true => role.as_str().to_owned(),
        false => format!("{} (own leads)", role.as_str()),
    });
    named.collect::<Vec<_>>().join(", ")
}
