//! The requests of `events/`, and small changes to them.
use std::collections::BTreeMap;
use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lambda_http::{Request, request};
use serde_json::{Value, json};

/// One API Gateway or function URL event.
#[derive(Clone, Debug)]
pub struct Event {
    /// Whose it is.
    pub function: &'static str,
    json: Value,
}

/// The event of `events/{name}.json`; what comes before a slash, or all of it, is the function.
pub fn event(name: &'static str) -> Event {
    let path = dev::event_file(name);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let function = name.split('/').next().unwrap();
    Event { function, json: serde_json::from_str(&text).unwrap() }
}

/// Every file under `events/`, by the function it belongs to.
pub fn event_files() -> BTreeMap<String, Vec<String>> {
    let mut files = BTreeMap::<String, Vec<String>>::new();
    let areas = registry::AREAS.iter().map(|area| dev::workspace().join("events").join(area.name));
    for entry in areas.flat_map(|area| fs::read_dir(area).unwrap()) {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            let cases =
                fs::read_dir(&path).unwrap().map(|case| case.unwrap().file_name().into_string().unwrap());
            files.entry(name).or_default().extend(cases);
        } else {
            files.entry(name.clone()).or_default().push(format!("{name}.json"));
        }
    }
    files
}

impl Event {
    /// With this session token.
    pub fn by(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.json["headers"][name] = json!(value);
        self
    }

    pub fn without_header(mut self, name: &str) -> Self {
        self.json["headers"].as_object_mut().unwrap().remove(name);
        self
    }

    /// As API Gateway had it from this address.
    pub fn sent_from(mut self, address: &str) -> Self {
        self.json["requestContext"]["http"]["sourceIp"] = json!(address);
        self
    }

    /// With this query string, such as `status=new&limit=5`.
    pub fn query(mut self, query: &str) -> Self {
        self.json["rawQueryString"] = json!(query);
        self
    }

    /// With another path parameter.
    pub fn path(mut self, name: &str, value: impl ToString) -> Self {
        self.json["pathParameters"][name] = json!(value.to_string());
        self
    }

    /// Sent to another path than its route's.
    pub fn raw_path(mut self, path: &str) -> Self {
        self.json["rawPath"] = json!(path);
        self.json["requestContext"]["http"]["path"] = json!(path);
        self
    }

    /// About this lead.
    pub fn id(self, id: impl ToString) -> Self {
        self.path("id", id)
    }

    pub fn json(self, body: Value) -> Self {
        self.body(&body.to_string())
    }

    pub fn body(mut self, body: &str) -> Self {
        self.json["body"] = json!(body);
        self.json["isBase64Encoded"] = json!(false);
        self
    }

    /// With a body that API Gateway takes for binary.
    pub fn bytes(mut self, body: &[u8]) -> Self {
        self.json["body"] = json!(STANDARD.encode(body));
        self.json["isBase64Encoded"] = json!(true);
        self
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        self.json["body"].as_str().unwrap()
    }

    /// With another value of a field that is no request's.
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.json[field] = value.into();
        self
    }

    pub fn value(&self) -> &Value {
        &self.json
    }

    pub fn request(&self) -> Request {
        request::from_str(&self.json.to_string()).unwrap()
    }
}
