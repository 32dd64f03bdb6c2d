//! Which way imports run: a function → its area's crate → `shared`, and no area knows another, but by the arrows here.
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// An area, and the areas whose crates it may use.
const ARROWS: [(&str, &[&str]); 4] = [
    ("platform", &[]),
    ("leads", &[]),
    // An enquiry becomes a lead.
    ("intake", &["leads"]),
    // The settings of a dealership's form are the dealership's.
    ("tenancy", &["intake"]),
];

/// The one function that may reach the database as its owner.
const DEPLOYMENT: &str = "migrate-database";

/// The modules of `shared`: each may use those before it.
const MODULES: [&str; 21] = [
    "schema",
    "chain",
    "clock",
    "outbound",
    "secrets",
    "config",
    "error",
    "fields",
    "auth",
    "db",
    "route",
    "page",
    "answer",
    "telemetry",
    "download",
    "ctx",
    "docs",
    "app",
    "job",
    "files",
    "endpoint",
];

fn manifest(folder: &str) -> toml::Table {
    let path = dev::workspace().join(folder).join("Cargo.toml");
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).parse().unwrap()
}

/// The packages that a manifest depends on outside of tests.
fn dependencies(folder: &str) -> BTreeSet<String> {
    manifest(folder)["dependencies"].as_table().unwrap().keys().cloned().collect()
}

fn functions() -> Vec<(&'static str, &'static str)> {
    registry::functions().map(|(area, function)| (area, function.name())).collect()
}

fn has_crate(area: &str) -> bool {
    dev::workspace().join(format!("functions/{area}/shared")).is_dir()
}

/// The packages of ours that are in the way of an import.
fn ours() -> BTreeSet<String> {
    let areas = registry::AREAS.iter().map(|area| area.name);
    let functions = functions().into_iter().map(|(_, function)| function);
    areas
        .chain(functions)
        .chain(["dev", "migrations", "registry", "shared", "tests"])
        .map(str::to_owned)
        .collect()
}

#[test]
fn each_area_has_its_arrows() {
    let named: Vec<&str> = registry::AREAS.iter().map(|area| area.name).collect();
    let mut known = ARROWS.map(|(area, _)| area).to_vec();
    known.sort_unstable();
    assert_eq!(
        {
            let mut named = named;
            named.sort_unstable();
            named
        },
        known
    );
}

#[test]
fn a_function_knows_its_area_and_shared() {
    for (area, name) in functions() {
        let (_, arrows) = ARROWS.into_iter().find(|(of, _)| *of == area).unwrap();
        let mut allowed: BTreeSet<&str> = arrows.iter().copied().chain(["shared", area]).collect();
        if name == DEPLOYMENT {
            allowed.insert("migrations");
        }
        let known = dependencies(&format!("functions/{area}/{name}"));
        for package in known.intersection(&ours()) {
            assert!(allowed.contains(package.as_str()), "{name} of {area} may not know {package}");
        }
        assert!(
            !known.iter().any(|package| package.contains("postgres")),
            "{name} names the database driver"
        );
    }
}

#[test]
fn an_areas_crate_knows_shared_and_its_arrows() {
    for (area, arrows) in ARROWS.into_iter().filter(|(area, _)| has_crate(area)) {
        let known = dependencies(&format!("functions/{area}/shared"));
        for package in known.intersection(&ours()) {
            assert!(
                package == "shared" || arrows.contains(&package.as_str()),
                "{area} may not know {package}"
            );
        }
        assert!(
            !known.iter().any(|package| package.contains("postgres")),
            "{area} names the database driver"
        );
    }
}

#[test]
fn shared_knows_no_package_of_ours() {
    assert_eq!(dependencies("shared").intersection(&ours()).collect::<Vec<_>>(), Vec::<&String>::new());
}

/// Every source file under a folder.
pub fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(sources(&path)),
            false if path.extension().is_some_and(|extension| extension == "rs") => found.push(path),
            false => {}
        }
    }
    found
}

/// The code of a source file: no comments, no tests.
pub fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let lines = text.lines().map(|line| line.split("//").next().unwrap());
    lines.collect::<Vec<_>>().join("\n")
}

/// The words after each `crate::` or `$crate::` of a file: `crate::{a::B, c}` names `a` and `c`.
fn named(code: &str) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        let word = |text: &str| {
            text.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>()
        };
        match rest.strip_prefix('{') {
            Some(group) => words.extend(group.split('}').next().unwrap().split(',').map(word)),
            None => _ = words.insert(word(rest)),
        }
    }
    words
}

#[test]
fn the_modules_of_shared_are_in_an_order() {
    let src = dev::workspace().join("shared/src");
    let lib = fs::read_to_string(src.join("lib.rs")).unwrap();
    let declared: BTreeSet<&str> = lib
        .lines()
        .filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';'))
        .collect();
    assert_eq!(declared, BTreeSet::from(MODULES));
    let mut uses = 0;
    for path in sources(&src) {
        let inside = path.strip_prefix(&src).unwrap().iter().next().unwrap().to_str().unwrap();
        let module = inside.trim_end_matches(".rs");
        let Some(at) = MODULES.iter().position(|name| *name == module) else { continue };
        for used in named(&code(&path)) {
            let Some(before) = MODULES.iter().position(|name| *name == used) else { continue };
            assert!(before <= at, "{module} may not use {used}: {}", path.display());
            uses += usize::from(before < at);
        }
    }
    assert!(uses > 50, "only {uses} uses found");
}

#[test]
fn shared_names_no_table_and_no_constraint_of_an_area() {
    let tables =
        ["leads", "conversations", "submissions", "form_mappings", "merges", "vehicles", "webhook_inbox"];
    for path in sources(&dev::workspace().join("shared/src")) {
        let code = code(&path);
        for word in code.split(|c: char| !c.is_alphanumeric() && c != '_') {
            let is_named =
                tables.iter().any(|table| word == *table || word.starts_with(&format!("{table}_")));
            // The permissions are Clerk's names, and so is what `leads:view` begins with.
            let is_permission = path.ends_with("auth/permissions.rs");
            assert!(!is_named || is_permission, "{word} in {}", path.display());
        }
    }
}
