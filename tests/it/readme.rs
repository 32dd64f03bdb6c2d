//! What the documents say is so.
use std::fs;

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

/// The documents that name tests.
const NAMING: [&str; 3] = ["README.md", "docs/INVARIANTS.md", "migrations/README.md"];

/// The source of a test's module, `tests/it/<module>.rs`, or of one in an area's folder.
fn module(name: &str) -> String {
    let file = format!("{}.rs", name.replace("::", "/"));
    let areas = registry::AREAS.iter().map(|area| format!("tests/it/{}/{file}", area.name));
    let mut files = [format!("tests/it/{file}")].into_iter().chain(areas);
    let file = files.find(|file| dev::workspace().join(file).exists());
    read(&file.unwrap_or_else(|| panic!("{name} is no module of the tests")))
}

#[test]
fn each_test_they_name_exists() {
    let mut named = 0;
    for text in NAMING.map(read) {
        for name in quoted(&text).iter().filter(|name| is_test(name)) {
            let (path, test) = name.rsplit_once("::").unwrap();
            assert!(module(path).contains(&format!("fn {test}(")), "{name} does not exist");
            named += 1;
        }
    }
    assert!(named > 60, "only {named} found");
}

#[test]
fn each_path_they_name_exists() {
    let folders = ["functions/", "shared/", "migrations/", "tests/", "events/", "dev/", "docs/", "stacks/"];
    let documents = fs::read_dir(dev::workspace().join("docs")).unwrap();
    let documents = documents.map(|file| file.unwrap().path()).filter(|path| path.extension().is_some());
    let documents = documents.map(|path| format!("docs/{}", path.file_name().unwrap().to_str().unwrap()));
    let mut named = 0;
    for path in documents.chain(["README.md".to_owned(), "CONTRIBUTING.md".to_owned()]) {
        for name in quoted(&read(&path)) {
            let is_path = folders.iter().any(|folder| name.starts_with(folder));
            if is_path && !name.contains(['<', '…', '{', '*', ' ']) && !name.contains("TRIAL") {
                assert!(dev::workspace().join(&name).exists(), "{path}: {name} does not exist");
                named += 1;
            }
        }
    }
    assert!(named > 30, "only {named} found");
}

#[test]
fn what_is_made_of_the_registry_is_up_to_date() {
    for (path, text) in dev::tables::generated().unwrap() {
        if std::env::var_os("INSTA_UPDATE").is_some_and(|update| update == "always") {
            fs::write(dev::workspace().join(&path), &text).unwrap();
        }
        assert!(read(&path) == text, "{path} is not what the registry says. Make it anew: cargo dev stacks");
    }
}

#[test]
fn the_readme_is_a_door() {
    let lines = read("README.md").lines().count();
    assert!(lines <= 150, "README.md has {lines} lines");
}
