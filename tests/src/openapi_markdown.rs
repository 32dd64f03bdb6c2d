//! The document as a page to read.
use std::fmt::Write;

use serde_json::Value;

/// The text above the routes.
const HEAD: &str = "\
# The API

Made of the same document as `/openapi.json`; do not edit it, but run `INSTA_UPDATE=always cargo test --package tests -- api_docs`.
The lines run in a shell with `url` and `auth` set, such as `auth=\"Authorization: Bearer $(cargo dev token)\"`.

";

/// The page.
pub fn page(document: &Value) -> String {
    let mut page = HEAD.to_owned();
    let _ = writeln!(page, "{}\n", document["info"]["description"].as_str().unwrap());
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            route(&mut page, method, path, operation);
        }
    }
    page.truncate(page.trim_end().len());
    page + "\n"
}

fn route(page: &mut String, method: &str, path: &str, operation: &Value) {
    let method = method.to_uppercase();
    let _ = writeln!(page, "## {method} {path}\n\n{}.", operation["summary"].as_str().unwrap());
    if let Some(description) = operation["description"].as_str() {
        let _ = writeln!(page, "{}", description.replace("\n\n", "\n"));
    }
    let parameters = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !parameters.is_empty() {
        let _ = writeln!(page, "\n| parameter | in | what |\n|---|---|---|");
    }
    for parameter in parameters {
        let about = parameter["description"].as_str().unwrap_or_default();
        let (name, place) = (parameter["name"].as_str().unwrap(), parameter["in"].as_str().unwrap());
        let _ = writeln!(
            page,
            "| `{name}` | {place} | {} |",
            [bounds(&parameter["schema"]).as_str(), about].join(" ").trim()
        );
    }
    let contents = operation["requestBody"]["content"].as_object();
    if let Some(contents) = contents {
        let bodies = contents.iter().map(|(kind, content)| format!("`{kind}`{}", named(&content["schema"])));
        let _ = writeln!(page, "\nBody: {}.", bodies.collect::<Vec<_>>().join(", "));
    }
    let _ = writeln!(page, "\n| status | what |\n|---|---|");
    for (status, response) in operation["responses"].as_object().unwrap() {
        let content = response["content"].as_object().and_then(|content| content.iter().next());
        let schema = content.map(|(_, content)| named(&content["schema"])).unwrap_or_default();
        let headers =
            response["headers"].as_object().into_iter().flatten().map(|(name, _)| format!(", `{name}`"));
        let description = response["description"].as_str().unwrap();
        let _ = writeln!(page, "| {status} | {description}{schema}{} |", headers.collect::<String>());
    }
    let example = contents.and_then(|contents| {
        contents.iter().find_map(|(kind, content)| Some((kind, content.get("example")?)))
    });
    let mut line = "curl -s".to_owned();
    if operation["security"] != Value::Array(Vec::new()) {
        line += " -H \"$auth\"";
    }
    if !matches!(method.as_str(), "GET" | "POST") || (method == "POST" && example.is_none()) {
        let _ = write!(line, " -X {method}");
    }
    if let Some((kind, body)) = example {
        let body = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
        let _ = write!(line, " -H 'content-type: {kind}' --data-binary '{}'", body.replace('\'', r"'\''"));
    }
    let _ = writeln!(page, "\n```sh\n{line} \"$url{}\"\n```\n", path.replace('{', "${"));
}

/// The name of the component, if the schema is one.
fn named(schema: &Value) -> String {
    let name = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next());
    name.map(|name| format!(" ({name})")).unwrap_or_default()
}

/// The bounds of a parameter, in short.
fn bounds(schema: &Value) -> String {
    let mut parts = Vec::new();
    if let Some(name) = schema["$ref"].as_str() {
        parts.push(name.rsplit('/').next().unwrap().to_owned());
    }
    for key in ["type", "format", "minimum", "maximum", "maxLength", "default"] {
        if let Some(value) = schema.get(key) {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            parts.push(if key == "type" { value } else { format!("{key} {value}") });
        }
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        parts.push(choices.iter().map(bounds).collect::<Vec<_>>().join(" or "));
    }
    if let Some(names) = schema["enum"].as_array() {
        parts.push(
            names.iter().map(|name| format!("`{}`", name.as_str().unwrap())).collect::<Vec<_>>().join(", "),
        );
    }
    if parts.is_empty() { String::new() } else { parts.join(", ") + "." }
}
