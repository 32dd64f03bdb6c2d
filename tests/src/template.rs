//! The names of all functions, and the text of the template.
use std::collections::{BTreeMap, BTreeSet};

use std::fs;

use dev::logical_id;

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

/// The root and the stack of each area, by their paths.
pub fn templates() -> BTreeMap<String, String> {
    let stacks = registry::AREAS.iter().map(|area| format!("stacks/{}.yaml", area.name));
    stacks.chain(["template.yaml".to_owned()]).map(|path| (path.clone(), read(&path))).collect()
}

/// Where a function is: the stack of its area, or the root for what a deployment calls.
pub fn template_of(name: &str) -> String {
    if name == DEPLOYMENT {
        read("template.yaml")
    } else {
        read(&format!("stacks/{}.yaml", registry::area_of(name).unwrap()))
    }
}

/// The API of a function and the routes on it that call its alias, such as `GET /health`.
pub fn api_routes(name: &str) -> (Option<String>, Names) {
    let (template, id) = (template_of(name), logical_id(name));
    let mut routes = Names::new();
    let Some((_, integration)) = template.split_once(&format!("  {id}Integration:\n")) else {
        return (None, routes);
    };
    let (_, api) = integration.split_once("ApiId: !Ref ").unwrap();
    let api = api.lines().next().unwrap();
    assert!(integration.contains(&format!(":function:${{{id}}}:live\" ")), "{integration}");
    for n in std::iter::once(String::new()).chain((2..).map(|n| n.to_string())) {
        if !template.contains(&format!("  {id}Route{n}:\n")) {
            break;
        }
        let route = block_of(&template, &format!("{id}Route{n}"));
        let target = format!("ApiId: !Ref {api}, RouteKey: \"");
        let (_, key) = route.split_once(&target).unwrap_or_else(|| panic!("{route}"));
        let (key, target) = key.split_once("\", Target: ").unwrap();
        assert_eq!(target.trim(), format!("!Sub \"integrations/${{{id}Integration}}\" }}"));
        // API Gateway may call the function for this route, and for no other.
        let permission = block_of(&template, &format!("{id}Permission{n}"));
        let (method, path) = key.split_once(' ').unwrap();
        let path: Vec<_> =
            path.split('/').map(|part| if part.starts_with('{') { "*" } else { part }).collect();
        let source = format!(":${{{api}}}/*/{method}{}\"\n", path.join("/"));
        assert!(permission.contains(&source), "{source} in {permission}");
        assert!(permission.contains(&format!("FunctionName: !Ref {id}.Alias\n")), "{permission}");
        routes.insert(key.to_owned());
    }
    (Some(api.to_owned()), routes)
}
