//! The API's document: assembled from the operations of all routes, and compared with every answer in the tests.
use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};

use jsonschema::Validator;
use lambda_http::http::HeaderMap;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};
use shared::docs::{Header, Media, Success};
use shared::error::Problem;
use shared::files::File;
use shared::{Caller, Operation};

use super::{ENDPOINTS, Event, FILES, Reply, event, event_files};

/// What is true of all routes.
const ABOUT: &str = "\
JSON in and out, snake_case, RFC 3339 times in UTC. \
A refusal is RFC 9457 `application/problem+json`: go by its `code`, which is stable. \
An invalid body or query names every invalid field at once; unknown fields and parameters are invalid. \
The rows of another dealership are a 404, as if they did not exist. \
A 503 and a 429 say when to try again. \
Caches must keep no answer: `cache-control: no-store`.\n\n\
API Gateway answers some requests itself, as `{\"message\": \"…\"}`: 404 for an unknown path, 413 above 10 MB, 429 above \
the deployment's rate limits. The export and Clerk's webhook have function URLs of their own, which are in the stack's \
outputs; locally everything is on one port.";

/// The headers that mean something to callers; every answer has the others.
const DOCUMENTED_HEADERS: [&str; 10] = [
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-max-age",
    "content-disposition",
    "etag",
    "location",
    "retry-after",
    "webhook-delivery",
    "www-authenticate",
];

/// The document.
pub static DOCUMENT: LazyLock<Value> = LazyLock::new(assemble);

fn assemble() -> Value {
    let components = |settings: SchemaSettings| {
        settings.with(|all| all.definitions_path = "/components/schemas".into()).into_generator()
    };
    let mut generators = Generators {
        read: components(SchemaSettings::draft2020_12().for_deserialize()),
        written: components(SchemaSettings::draft2020_12().for_serialize()),
    };
    let mut paths = Map::new();
    for endpoint in ENDPOINTS.iter() {
        let operation = (endpoint.operation)();
        assert_eq!(operation.route.name, endpoint.route.name, "it speaks of another route");
        let path = paths.entry(operation.route.path).or_insert_with(|| json!({}));
        path[operation.route.method.to_lowercase()] = generators.operation(&operation);
    }
    for file in FILES.iter().flat_map(|files| files.files) {
        if let Some(operation) = of_file(file) {
            paths.insert(file.path.to_owned(), json!({ "get": operation }));
        }
    }
    generators.written.subschema_for::<Problem<'_>>();
    let mut schemas = generators.written.take_definitions(true);
    for (name, schema) in generators.read.take_definitions(true) {
        let same = schemas.insert(name.clone(), schema.clone()).is_none_or(|written| written == schema);
        assert!(same, "{name} is read and written in different forms: give one of them another name");
    }
    assert!(
        !schemas.keys().any(|name| name.ends_with(char::is_numeric)),
        "two types have one name: {schemas:?}"
    );
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Norvalt",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "clerk": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "A session token of Clerk's, with an organization chosen. It lives for a minute.",
                },
            },
        },
    })
}

/// The operation of a file that people ask for by its address.
fn of_file(file: &File) -> Option<Value> {
    let content_type = file.content_type.split(';').next().unwrap();
    let (id, tag, summary, schema) = match file.path {
        "/" => ("index", "index", "Get the version and the paths of what is here", "object"),
        "/openapi.json" => ("openapi", "docs", "Get this document", "object"),
        "/docs" => ("docs", "docs", "Read this document and try it out", "string"),
        _ => return None,
    };
    let schema = json!({ "type": schema });
    Some(json!({
        "operationId": id,
        "tags": [tag],
        "summary": summary,
        "security": [],
        "responses": { "200": { "description": "OK", "content": { content_type: { "schema": schema } } } },
    }))
}

/// Two generators, since a type may require other fields when it is read (bodies, queries) than when it is written
/// (answers).
struct Generators {
    read: SchemaGenerator,
    written: SchemaGenerator,
}

impl Generators {
    fn operation(&mut self, operation: &Operation) -> Value {
        let route = operation.route;
        let mut description = operation.description.to_owned();
        if operation.asks_for_a_token() {
            let roles: Vec<&str> = operation.roles().into_iter().map(|role| role.as_str()).collect();
            description += &format!("\n\nFor {}.", roles.join(", "));
        }
        let mut documented = json!({
            "operationId": route.name,
            "tags": [tag(route.path)],
            "summary": operation.summary,
            "description": description.trim(),
            "parameters": self.parameters(operation),
            "responses": self.responses(operation),
            "security": if operation.asks_for_a_token() { json!([{ "clerk": [] }]) } else { json!([]) },
        });
        if let Some(permissions) = &operation.permissions {
            documented["x-permissions"] = json!(permissions);
        }
        if !operation.bodies.is_empty() {
            let bodies = operation.bodies.iter().map(|body| self.body(operation, body));
            documented["requestBody"] = json!({ "required": true, "content": bodies.collect::<Map<_, _>>() });
        }
        documented
    }

    fn parameters(&mut self, operation: &Operation) -> Vec<Value> {
        let in_path = operation.route.path.split(['{', '}']).skip(1).step_by(2);
        let mut parameters: Vec<Value> = in_path
            .map(|name| {
                let schema = json!({ "type": "string", "format": "uuid" });
                json!({ "name": name, "in": "path", "required": true, "schema": schema })
            })
            .collect();
        for query in &operation.queries {
            let query = query(&mut self.read).to_value();
            let required = query["required"].as_array().cloned().unwrap_or_default();
            for (name, schema) in query["properties"].as_object().unwrap() {
                let mut schema = schema.clone();
                let description = schema.as_object_mut().unwrap().remove("description");
                let required = required.contains(&json!(name));
                let mut parameter = json!({ "name": name, "in": "query", "required": required, "schema": without_null(schema) });
                if let Some(description) = description {
                    parameter["description"] = description;
                }
                parameters.push(parameter);
            }
        }
        parameters.extend(operation.headers.iter().map(|header| {
            let schema = match header.name {
                "idempotency-key" => {
                    json!({ "type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^[\t -~]*[!-~][\t -~]*$" })
                }
                _ => json!({ "type": "string" }),
            };
            json!({ "name": header.name, "in": "header", "description": header.about, "schema": schema })
        }));
        parameters
    }

    fn body(&mut self, operation: &Operation, body: &Media) -> (String, Value) {
        let schema = body.schema.map(|schema| schema(&mut self.read).to_value());
        let mut content = json!({ "schema": schema.unwrap_or_else(|| json!({ "type": "string" })) });
        if let Some(example) = example(operation.route.name, body.content_type) {
            content["example"] = example;
        }
        (body.content_type.to_owned(), content)
    }

    fn responses(&mut self, operation: &Operation) -> Value {
        let mut responses = json!({});
        for success in &operation.answers {
            responses[success.status.as_str()] = self.success(success);
        }
        let mut refusals: Vec<(u16, Vec<&str>)> = Vec::new();
        for (status, code) in &operation.refusals {
            match refusals.last_mut() {
                Some((last, codes)) if last == status => codes.push(code),
                _ => refusals.push((*status, vec![code])),
            }
        }
        for (status, codes) in refusals {
            let challenge = status == 401 && operation.asks_for_a_token();
            let headers = match status {
                429 | 503 => documented_headers(&[Header { name: "retry-after", about: "Seconds." }], true),
                401 if challenge => {
                    documented_headers(&[Header { name: "www-authenticate", about: "`Bearer`." }], true)
                }
                _ => Map::new(),
            };
            let schema = json!({ "allOf": [
                { "$ref": "#/components/schemas/Problem" },
                { "properties": { "status": { "const": status }, "code": { "enum": codes } } },
            ] });
            responses[status.to_string()] = json!({
                "description": codes.iter().map(|code| format!("`{code}`")).collect::<Vec<_>>().join(", "),
                "headers": headers,
                "content": { "application/problem+json": { "schema": schema } },
            });
        }
        responses
    }

    fn success(&mut self, success: &Success) -> Value {
        let mut headers = documented_headers(&success.headers, true);
        headers.extend(documented_headers(&success.more_headers, false));
        let mut documented = json!({
            "description": success.status.canonical_reason(),
            "headers": headers,
        });
        if let Some(body) = success.body {
            let schema = body.schema.map(|schema| schema(&mut self.written).to_value());
            let schema = schema.unwrap_or_else(|| json!({ "type": "string" }));
            documented["content"] = json!({ body.content_type: { "schema": schema } });
        }
        documented
    }
}

fn documented_headers(headers: &[Header], required: bool) -> Map<String, Value> {
    let documented = |header: &Header| {
        let kind = if header.name == "retry-after" { "integer" } else { "string" };
        let object = json!({ "description": header.about, "required": required, "schema": { "type": kind } });
        (header.name.to_owned(), object)
    };
    headers.iter().map(documented).collect()
}

/// Without null: a parameter that is not sent is absent.
fn without_null(mut schema: Value) -> Value {
    if let Some(kinds) = schema["type"].as_array() {
        schema["type"] = kinds.iter().find(|kind| **kind != "null").unwrap().clone();
    }
    if let Some(choices) = schema["anyOf"].as_array_mut() {
        choices.retain(|choice| choice["type"] != "null");
        if let [only] = &choices[..] {
            return only.clone();
        }
    }
    for key in ["type", "anyOf"] {
        if schema[key].is_null() {
            schema.as_object_mut().unwrap().remove(key);
        }
    }
    schema
}

/// `leads` of `/api/v1/leads/{id}`.
fn tag(path: &str) -> &str {
    path.trim_start_matches("/api/v1").split('/').nth(1).unwrap()
}

/// An example: the body of the first event with this content type.
fn example(name: &'static str, content_type: &str) -> Option<Value> {
    let files = event_files();
    let cases = files[name].iter().map(|file| file.trim_end_matches(".json").to_owned());
    let names = std::iter::once(name.to_owned())
        .chain(cases.filter(|case| case != name).map(|case| format!("{name}/{case}")));
    for name in names {
        let event = event(name.leak());
        let sent = event.value()["headers"]["content-type"].as_str().unwrap_or_default().to_owned();
        if sent.split(';').next() != Some(content_type) {
            continue;
        }
        return match content_type {
            "multipart/form-data" => None,
            "application/x-www-form-urlencoded" => Some(form(&event)),
            kind if kind.contains("json") => serde_json::from_str(event.text()).ok(),
            _ if event.value()["isBase64Encoded"] == true => None,
            _ => Some(event.text().into()),
        };
    }
    None
}

/// The fields of a URL-encoded body.
fn form(event: &Event) -> Value {
    let request = event.request();
    let pairs = form_urlencoded::parse(request.body());
    Value::Object(pairs.map(|(name, value)| (name.into_owned(), value.into_owned().into())).collect())
}

/// The violations of the schema at this place of the document.
fn violations(at: &str, json: &Value) -> Vec<String> {
    static VALIDATORS: LazyLock<Mutex<HashMap<String, &'static Validator>>> = LazyLock::new(Mutex::default);
    let validator = *VALIDATORS.lock().unwrap().entry(at.to_owned()).or_insert_with(|| {
        let schema =
            json!({ "allOf": [DOCUMENT.pointer(at).unwrap()], "components": DOCUMENT["components"] });
        let validator = jsonschema::options().should_validate_formats(true).build(&schema);
        Box::leak(Box::new(validator.unwrap()))
    });
    validator.iter_errors(json).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

fn pointer(event: &Event, rest: &str) -> String {
    let route = super::endpoint(event.function).route;
    format!("/paths/{}/{}/{rest}", route.path.replace('/', "~1"), route.method.to_lowercase())
}

/// Asserts that an answer, and the body and query that were accepted for it, are as the document says.
pub fn assert_documented(event: &Event, reply: &Reply) {
    let case = format!("{} answers {} {}", event.function, reply.status, reply.json);
    let at = pointer(event, &format!("responses/{}", reply.status));
    let documented =
        DOCUMENT.pointer(&at).unwrap_or_else(|| panic!("{case}: its document has no such status"));
    assert_headers_documented(&case, documented, &reply.headers);
    let content_type = reply.header("content-type").split(';').next().unwrap();
    match documented["content"].as_object() {
        None => assert!(reply.body.is_empty(), "{case}: its document has no body"),
        Some(content) => {
            assert!(content.contains_key(content_type), "{case}: its document has no {content_type}");
            let wrong =
                violations(&format!("{at}/content/{}/schema", content_type.replace('/', "~1")), &reply.json);
            assert!(wrong.is_empty() || !content_type.ends_with("json"), "{case}: {wrong:#?}");
        }
    }
    if reply.status < 400 {
        assert_body_documented(&case, event);
        assert_query_documented(&case, event);
    }
}

/// For an accepted request.
fn assert_body_documented(case: &str, event: &Event) {
    let Some(documented) = DOCUMENT.pointer(&pointer(event, "requestBody/content")) else { return };
    let sent = event.value()["headers"]["content-type"].as_str().unwrap_or_default();
    let sent = sent.split(';').next().unwrap().to_lowercase();
    assert!(documented.get(&sent).is_some(), "{case}, but its document has no body of {sent}");
    if sent.ends_with("json") {
        let at = pointer(event, &format!("requestBody/content/{}/schema", sent.replace('/', "~1")));
        let body: Value = serde_json::from_slice(event.request().body()).unwrap_or_default();
        let wrong = violations(&at, &body);
        assert!(wrong.is_empty(), "{case}, but by its document {body} is not valid: {wrong:#?}");
    }
}

/// For an accepted request to a route of members; the other routes ignore unknown parameters.
fn assert_query_documented(case: &str, event: &Event) {
    if super::endpoint(event.function).route.caller != Caller::Member {
        return;
    }
    let documented = DOCUMENT.pointer(&pointer(event, "parameters")).unwrap().as_array().unwrap();
    for (name, _) in form_urlencoded::parse(event.request().uri().query().unwrap_or_default().as_bytes()) {
        let is_documented =
            documented.iter().any(|parameter| parameter["in"] == "query" && parameter["name"] == *name);
        assert!(is_documented, "{case}, but its document has no {name} in the query");
    }
}

fn assert_headers_documented(case: &str, documented: &Value, headers: &HeaderMap) {
    for name in DOCUMENTED_HEADERS.iter().filter(|name| headers.contains_key(**name)) {
        assert!(documented["headers"].get(name).is_some(), "{case}: its document has no {name}");
    }
    for (name, header) in documented["headers"].as_object().into_iter().flatten() {
        assert!(header["required"] != true || headers.contains_key(name), "{case}: it has no {name}");
    }
}
