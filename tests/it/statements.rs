//! The SQL of every function: listed in its `ROUTE` or `SCHEDULE`, understood by the schema, allowed to its login.
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use dev::sql::{SqlOf, prepare, statements};
use shared::db::connect_as_owner;
use tokio_postgres::Client;

use crate::structure::sources;
use crate::support::World;

/// The words that a statement begins with.
const VERBS: [&str; 6] = ["declare", "delete", "insert", "select", "update", "with"];

/// Plans a statement for parameters that PostgreSQL does not know, as the text that `cargo dev sql` prints.
async fn plan(client: &Client, name: &str, sql: &str) -> Result<(), tokio_postgres::Error> {
    client.batch_execute(&prepare(name, sql)).await?;
    let count = "select cardinality(parameter_types) from pg_prepared_statements where name = $1";
    let parameters: i32 = client.query_one(count, &[&name]).await?.get(0);
    let nulls = vec!["null"; usize::try_from(parameters).unwrap()].join(", ");
    let parameters = if nulls.is_empty() { String::new() } else { format!("({nulls})") };
    // A plan for execution checks what the login may do.
    client.batch_execute(&format!("explain execute {name} {parameters}")).await
}

#[tokio::test]
async fn each_statement_fits_the_schema_and_is_allowed_to_its_functions_login() {
    let world = World::empty().await;
    let (mut planned, mut failures) = (0, Vec::new());
    for (_, function) in registry::functions() {
        let Some(login) = function.login() else { continue };
        let (client, _connection) = connect_as_owner(&world.database.url(login)).await.unwrap();
        client.batch_execute("set plan_cache_mode = force_generic_plan").await.unwrap();
        for (name, sql) in function.statements() {
            planned += 1;
            if let Err(error) = plan(&client, name, sql).await {
                let reason = error.as_db_error().map_or_else(|| error.to_string(), ToString::to_string);
                failures.push(format!("{} {name}: {reason}\n{sql}", function.name()));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    assert!(planned > 80, "only {planned} statements");
}

/// A source file without comments and unit tests. A `//` inside of a line may be an address's.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The string literals of a source file.
fn literals(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find(['"', '\'']) {
        let (before, from) = rest.split_at(at);
        if let Some(raw) = from.strip_prefix('"').filter(|_| before.ends_with("r#")) {
            let (text, after) = raw.split_once("\"#").unwrap();
            found.push(text.to_owned());
            rest = after;
        } else if let Some(text) = from.strip_prefix('"') {
            let mut escaped = false;
            let end = text.find(|c| {
                let is_end = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                is_end
            });
            let (text, after) = text.split_at(end.unwrap());
            // A backslash at the end of a line takes the white space of the next with it.
            let mut lines = text.split("\\\n");
            let first = lines.next().unwrap().to_owned();
            found.push(lines.fold(first, |text, line| text + line.trim_start()));
            rest = &after[1..];
        } else {
            // A quotation mark as a character; otherwise a lifetime or another character.
            rest = from.strip_prefix("'\"'").or_else(|| from.strip_prefix("'\\''")).unwrap_or(&from[1..]);
        }
    }
    found
}

/// The parts of a literal between the holes of `formatcp!`.
fn parts(literal: &str) -> Vec<String> {
    let is_hole = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    let mut parts = vec![String::new()];
    for piece in literal.split_inclusive(['{', '}']) {
        let last = parts.last_mut().unwrap();
        match piece.strip_suffix('}') {
            Some(name) if is_hole(name) => {
                last.pop();
                parts.push(String::new());
            }
            _ => last.push_str(piece),
        }
    }
    parts.into_iter().map(|part| part.trim().replace("{{", "{").replace("}}", "}")).collect()
}

fn begins_a_statement(literal: &str) -> bool {
    let mut words = literal.split_whitespace();
    words.next().is_some_and(|first| VERBS.contains(&first)) && words.next().is_some()
}

#[test]
fn a_literal_is_found_whole_and_its_holes_divide_it() {
    let code = r##"const A: &str = "select 1"; let c = '"'; const B: &str = r#"with "x" as"#; f::<'a>("a \"b\" \
        c", formatcp!("select {COLUMNS} from t where x = '{{}}'"))"##;
    let found = literals(code);
    assert_eq!(found[..3], ["select 1", "with \"x\" as", "a \\\"b\\\" c"]);
    assert_eq!(parts(&found[3]), ["select", "from t where x = '{}'"]);
}

/// The statements that a folder's functions list, without the white space at both ends.
fn listed(name: &str) -> Vec<&'static str> {
    let functions = registry::functions();
    let functions = functions
        .filter(|(area, function)| name == "shared" && area != &"platform" || function.name() == name);
    functions.flat_map(|(_, function)| function.statements()).map(|(_, sql)| sql.trim()).collect()
}

#[test]
fn each_statement_in_the_code_is_listed() {
    let mut checked = 0;
    for area in &registry::AREAS {
        for entry in fs::read_dir(dev::workspace().join("functions").join(area.name)).unwrap() {
            let folder = entry.unwrap().path();
            let listed = listed(folder.file_name().unwrap().to_str().unwrap());
            let is_listed = |literal: &str| {
                let parts = parts(literal);
                listed.iter().any(|sql| parts.iter().all(|part| sql.contains(part.as_str())))
            };
            for path in sources(&folder) {
                for literal in literals(&code(&path)).iter().filter(|literal| begins_a_statement(literal)) {
                    assert!(is_listed(literal), "{} does not list\n{literal}", path.display());
                    checked += 1;
                }
            }
            for path in sql_files(&folder) {
                let text = fs::read_to_string(&path).unwrap();
                assert!(
                    listed.iter().any(|sql| sql.contains(text.trim())),
                    "{} is not listed",
                    path.display()
                );
            }
        }
    }
    assert!(checked > 70, "only {checked} found");
}

fn sql_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder.join("src")) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "sql")).collect()
}

#[test]
fn no_two_statements_of_a_function_have_one_name() {
    for (_, function) in registry::functions() {
        let mut names = BTreeSet::new();
        for (name, _) in function.statements() {
            assert!(names.insert(name), "{} has two statements called {name}", function.name());
        }
    }
}

#[test]
fn cargo_dev_sql_prints_what_psql_takes() {
    let text = |function: &str| statements(&SqlOf { function: function.to_owned() });
    insta::assert_snapshot!(text("delete-lead").unwrap());
    assert!(text("export-leads").unwrap().contains("prepare rows as\nselect id::text,"));
    assert_eq!(text("api-docs").unwrap(), "-- api-docs runs no SQL.\n");
    assert_eq!(text("no-such").unwrap_err().to_string(), "there is no function no-such");
}
