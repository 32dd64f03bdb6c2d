//! The routes and the scheduled functions are named in several places; all of them name the same set.
use std::collections::BTreeSet;
use std::fs;

use dev::logical_id;
use shared::{Front, Login};

use crate::structure::sources;
use crate::support::template::{Names, api_routes, block_of, functions, read, template_of, templates};
use crate::support::{ENDPOINTS, FILES, SCHEDULES, event, event_files};

fn area(name: &str) -> &'static str {
    registry::area_of(name).unwrap()
}

fn folder(path: &str) -> Names {
    let entries = fs::read_dir(dev::workspace().join(path)).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// The block of a function, whose binary and database user, if it has one, are its own.
fn function_block(name: &str, login: Option<Login>) -> String {
    let block = block_of(&template_of(name), &logical_id(name));
    assert!(block.contains(&format!("CodeUri: ../target/lambda/{name}/\n")), "{block}");
    let logins: Vec<&str> = Login::ALL
        .map(Login::setting)
        .into_iter()
        .filter(|login| block.contains(&format!("{login}_")))
        .collect();
    assert_eq!(logins, login.map(Login::setting).as_slice(), "the database users of {name}");
    block
}

#[test]
fn a_folder_a_package_and_a_binary_for_each_function() {
    let mut folders = Names::new();
    for area in &registry::AREAS {
        folders
            .extend(folder(&format!("functions/{}", area.name)).into_iter().filter(|name| name != "shared"));
    }
    assert_eq!(folders, functions());
    for name in functions() {
        let manifest = read(&format!("functions/{}/{name}/Cargo.toml", area(&name)));
        assert_eq!(
            manifest.matches(&format!("name = \"{name}\"")).count(),
            2,
            "package and binary of {name}"
        );
        let main = read(&format!("functions/{}/{name}/src/main.rs", area(&name)));
        assert!(main.contains(&format!("{}::", name.replace('-', "_"))), "{name} starts another function");
    }
}

#[test]
fn an_event_and_a_test_file_for_each_function() {
    let events = event_files();
    assert_eq!(events.keys().cloned().collect::<Names>(), functions());
    for (name, files) in events {
        assert!(files.contains(&format!("{name}.json")), "events/{name}.json is missing");
    }
    for name in functions() {
        let file = format!("{}.rs", name.replace('-', "_"));
        let area = area(&name);
        assert!(folder(&format!("tests/it/{area}")).contains(&file), "tests/it/{area}/{file} is missing");
    }
}

#[test]
fn each_event_is_its_routes() {
    for endpoint in ENDPOINTS.iter() {
        let route = endpoint.route;
        let event = event(route.name);
        let context = &event.value()["requestContext"];
        assert_eq!(context["http"]["method"], route.method, "{}", route.name);
        // A function URL has one route for everything.
        if context["routeKey"] != "$default" {
            assert_eq!(context["routeKey"], format!("{} {}", route.method, route.path));
        }
    }
}

#[test]
fn the_template_has_each_route_and_its_database_user() {
    let is_function = |line: &&str| line.trim() == "Type: AWS::Serverless::Function";
    let there = templates().values().map(|text| text.lines().filter(is_function).count()).sum::<usize>();
    assert_eq!(there, functions().len());
    for endpoint in ENDPOINTS.iter() {
        let route = endpoint.route;
        let block = function_block(route.name, Some(route.login));
        let key = format!("{} {}", route.method, route.path);
        assert!(block.contains(&format!("Description: {key}\n")), "{block}");
        let api = match route.front {
            Front::Api => Some("Api".to_owned()),
            Front::FormApi => Some("FormApi".to_owned()),
            Front::Url | Front::StreamingUrl => None,
        };
        let keys = if api.is_some() { Names::from([key]) } else { Names::new() };
        assert_eq!(api_routes(route.name), (api.clone(), keys), "{}", route.name);
        assert_eq!(block.contains("FunctionUrlConfig"), api.is_none(), "{block}");
        assert_eq!(block.contains("RESPONSE_STREAM"), route.front == Front::StreamingUrl, "{block}");
    }
}

#[test]
fn the_template_has_each_schedule_and_its_database_user() {
    for schedule in SCHEDULES.iter() {
        let block = function_block(schedule.name, Some(schedule.login));
        let expression = format!("ScheduleExpression: {}\n", schedule.expression);
        assert!(block.contains("Type: ScheduleV2\n") && block.contains(&expression), "{block}");
        let input = block.lines().find_map(|line| line.trim().strip_prefix("Input: '")).unwrap();
        let input: serde_json::Value = serde_json::from_str(input.trim_end_matches('\'')).unwrap();
        assert_eq!(&input, event(schedule.name).value(), "events/{}.json is what it gets", schedule.name);
        assert!(!block.contains("FunctionUrlConfig"), "{block}");
        assert_eq!(api_routes(schedule.name), (None, Names::new()));
        // Whether EventBridge Scheduler could not deliver the event, or Lambda could not run the function.
        let patience = format!(
            "{{ MaximumRetryAttempts: {}, MaximumEventAgeInSeconds: {} }}\n",
            schedule.retries, schedule.max_age_seconds
        );
        assert_eq!(block.matches(&patience).count(), 2, "{block}");
    }
}

#[test]
fn the_template_has_each_file_on_the_api_and_gives_its_function_no_setting() {
    for files in registry::files() {
        let block = function_block(files.name, None);
        assert!(
            !block.contains("Environment") && block.contains("Role: !GetAtt NoSecretRole.Arn\n"),
            "{block}"
        );
        let keys = files.files.iter().map(|file| format!("GET {}", file.path)).collect();
        assert_eq!(api_routes(files.name), (Some("Api".to_owned()), keys));
    }
}

#[test]
fn the_emulators_router_has_each_route() {
    let table: toml::Table = dev::emulator::router_table().parse().unwrap();
    let mut found = BTreeSet::new();
    for (path, targets) in table["watch"]["router"].as_table().unwrap() {
        for target in targets.as_array().unwrap() {
            let text = |name: &str| target[name].as_str().unwrap().to_owned();
            assert!(found.insert((text("method"), path.clone(), text("function"))));
        }
    }
    let routes =
        ENDPOINTS.iter().map(|endpoint| endpoint.route).map(|route| (route.method, route.path, route.name));
    let files = FILES.iter().flat_map(|files| files.files.iter().map(|file| ("GET", file.path, files.name)));
    let all =
        routes.chain(files).map(|(method, path, name)| (method.to_owned(), path.to_owned(), name.to_owned()));
    assert_eq!(found, all.collect());
}

/// Whether a manifest names the package as a dependency: `me.workspace = true`, `me = { path = "…" }`.
fn depends(manifest: &str, package: &str) -> bool {
    manifest.lines().any(|line| line.split(['.', ' ', '=']).next() == Some(package))
}

#[test]
fn only_shared_names_the_database_driver_and_functions_do_not_know_each_other() {
    for name in functions() {
        let manifest = read(&format!("functions/{}/{name}/Cargo.toml", area(&name)));
        assert!(!manifest.contains("postgres"), "{name} could open a connection of its own");
        for other in functions() {
            assert!(other == name || !depends(&manifest, &other), "{name} depends on {other}");
            assert!(!depends(&read("shared/Cargo.toml"), &other), "shared knows {other}");
        }
    }
}

/// What makes a text at run time; `concat!` does it when the code is compiled.
const BUILDS: [&str; 8] =
    ["format!(", "format_args!(", "write!(", "writeln!(", ".concat()", ".join(", "push_str(", ".replace("];

/// A piece of code between semicolons and braces, and the string literals that were in it.
#[derive(Default)]
struct Piece {
    code: String,
    literals: Vec<String>,
}

impl Piece {
    /// Whether it has a statement's beginning, in a literal or in one of the macros that begin a statement.
    fn has_sql(&self) -> bool {
        self.literals.iter().any(|literal| is_sql(literal)) || self.code.contains("select_")
    }

    /// The constant that it makes.
    fn constant(&self) -> Option<&str> {
        let (_, name) = self.code.split_once("const ")?;
        Some(name.split(':').next().unwrap().trim())
    }

    fn names(&self, constant: &str) -> bool {
        let is_name = |c: char| c.is_alphanumeric() || c == '_';
        let mut texts = self.literals.iter().chain([&self.code]);
        texts.any(|text| text.split(|c| !is_name(c)).any(|word| word == constant))
    }
}

/// The code of a file without its comments and its tests.
fn pieces(source: &str) -> Vec<Piece> {
    let source = source.split("#[cfg(test)]\nmod ").next().unwrap();
    let code: String = source.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let mut pieces = vec![Piece::default()];
    let mut chars = code.replace("'\"'", "' '").chars().collect::<Vec<_>>().into_iter();
    while let Some(c) = chars.next() {
        let piece = pieces.last_mut().unwrap();
        match c {
            '"' => {
                let mut literal = String::new();
                while let Some(c) = chars.next().filter(|c| *c != '"') {
                    literal.push(c);
                    literal.extend((c == '\\').then(|| chars.next().unwrap()));
                }
                piece.literals.push(literal);
            }
            ';' | '{' | '}' => pieces.push(Piece::default()),
            c => piece.code.push(c),
        }
    }
    pieces
}

/// Whether a literal begins as a statement does.
fn is_sql(literal: &str) -> bool {
    let literal = literal.replace("\\n", " ");
    let first = literal.split(|c: char| !c.is_alphabetic()).find(|word| !word.is_empty());
    let verbs = ["select", "insert", "update", "delete", "with"];
    first.is_some_and(|word| verbs.contains(&word.to_lowercase().as_str()))
}

/// What builds SQL in this file at run time.
fn built_sql(source: &str) -> Vec<String> {
    let pieces = pieces(source);
    let constants: Vec<&str> =
        pieces.iter().filter(|piece| piece.has_sql()).filter_map(Piece::constant).collect();
    let builds = pieces.iter().filter(|piece| BUILDS.iter().any(|build| piece.code.contains(build)));
    let of_sql = builds.filter(|piece| piece.has_sql() || constants.iter().any(|name| piece.names(name)));
    of_sql.map(|piece| format!("{} {:?}", piece.code.trim(), piece.literals)).collect()
}

#[test]
fn no_sql_is_built_at_run_time_and_only_shared_sets_a_scope() {
    for built in [
        "let sql = format!(\"SELECT {column} from leads\");",
        "sql.push_str(\"with newest as (\");",
        "write!(sql, \"\\n  Update leads set {name} = $1\")?;",
        "const SQL: &str = \"select 1\"; fn f() { let sql = [SQL, \" limit 1\"].concat(); }",
        "const LIST: &str = \"select 1\"; fn f() { let sql = format!(\"{LIST} limit 1\"); }",
        "const LIST: &str = concat!(select_lead!(\"leads\"), \" where true\"); fn f() { LIST.replace('x', \"y\"); }",
    ] {
        assert_eq!(built_sql(built).len(), 1, "{built}");
    }
    assert_eq!(built_sql("const SQL: &str = concat!(\"select 1\", \" limit 1\");"), [""; 0]);

    let [functions, shared] = ["functions", "shared"].map(|folder| sources(&dev::workspace().join(folder)));
    assert!(functions.len() + shared.len() > 100, "{} and {} files", functions.len(), shared.len());
    for path in functions.iter().chain(&shared) {
        let source = fs::read_to_string(path).unwrap();
        assert_eq!(built_sql(&source), [""; 0], "{}", path.display());
    }
    for path in functions {
        assert!(
            !fs::read_to_string(&path).unwrap().contains("set_config"),
            "{} sets a scope",
            path.display()
        );
    }
}

/// The types that read phone numbers by the world's numbering plans.
const PHONE_READERS: [&str; 3] = ["Contact", "Enquiry", "Phone"];

/// What the sources of a function import, but for its `main.rs`.
fn imports(function: &str) -> Names {
    let sources = format!("functions/{}/{function}/src", area(function));
    let files = folder(&sources).into_iter().filter(|file| file.ends_with(".rs") && file != "main.rs");
    let texts: Vec<String> = files.map(|file| read(&format!("{sources}/{file}"))).collect();
    let uses =
        texts.iter().flat_map(|text| text.split("\nuse ").skip(1)).filter_map(|rest| rest.split(';').next());
    uses.flat_map(|names| names.split(|c: char| !c.is_alphanumeric() && c != '_'))
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_function_that_reads_phone_numbers_loads_the_numbering_plans_at_its_start() {
    let mut readers = Names::new();
    for name in functions() {
        let imports = imports(&name);
        let reads = PHONE_READERS.iter().any(|reader| imports.contains(*reader));
        let main = read(&format!("functions/{}/{name}/src/main.rs", area(&name)));
        assert_eq!(main.contains("    Phone::warm_up();\n"), reads, "main.rs of {name}");
        readers.extend(reads.then_some(name));
    }
    assert!(readers.contains("create-lead") && readers.contains("parse-submissions"), "{readers:?}");
}
