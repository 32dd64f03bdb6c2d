//! A stand-in for Clerk's Backend API: organizations, people and memberships, with the paths, parameters and fields of
//! Clerk's OpenAPI document of 2026-05-12, as far as we use them.
use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, HeaderValue, RETRY_AFTER};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use reqwest::Url;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::http;
use crate::people::{DEALERSHIPS, FOUNDED_MS, MEMBERSHIPS, PEOPLE};

/// The one key that is not refused; it opens nothing but this.
pub const SECRET_KEY: &str = "sk_test_norvalt_stand_in";

/// The instance that the key is of.
pub const INSTANCE_ID: &str = "ins_norvalt_stand_in";

/// Objects of a page when the request names no limit.
const DEFAULT_LIMIT: usize = 10;

/// The most objects of a page.
const MAX_LIMIT: usize = 500;

/// The API with what it knows.
pub struct Backend(Mutex<State>);

struct State {
    directory: Directory,
    hidden: Vec<String>,
    largest_page: usize,
    faults: VecDeque<Fault>,
    asked: Vec<Asked>,
}

/// What the API knows, each oldest first.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    /// As [`organization`] makes them.
    pub organizations: Vec<Value>,
    /// As [`user`] makes them.
    pub users: Vec<Value>,
    /// As [`membership`] makes them.
    pub memberships: Vec<Value>,
}

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// Nothing: it is answered.
    None,
    /// 429 with a `Retry-After` of so many seconds.
    TooMany(u64),
    /// Another status.
    Status(u16),
}

/// A request that came.
#[derive(Clone, Debug)]
pub struct Asked {
    /// When.
    pub at: Instant,
    /// Path and query.
    pub target: String,
}

/// An organization; times are in milliseconds since 1970.
#[must_use]
pub fn organization(id: &str, name: &str, slug: Option<&str>, at: i64) -> Value {
    json!({
        "object": "organization", "id": id, "name": name, "slug": slug, "has_image": false,
        "max_allowed_memberships": 5, "admin_delete_enabled": true, "public_metadata": {},
        "created_at": at, "updated_at": at,
    })
}

/// A person.
#[must_use]
pub fn user(id: &str, first_name: &str, last_name: Option<&str>, email: &str, at: i64) -> Value {
    json!({
        "object": "user", "id": id, "first_name": first_name, "last_name": last_name,
        "primary_email_address_id": "idn_primary",
        "email_addresses": [
            { "id": "idn_other", "object": "email_address", "email_address": "other@example.com" },
            { "id": "idn_primary", "object": "email_address", "email_address": email },
        ],
        "banned": false, "public_metadata": {}, "created_at": at, "updated_at": at,
    })
}

/// A membership of two that are there, with the copies that Clerk puts into it.
#[must_use]
pub fn membership(id: &str, organization: &Value, user: &Value, role: Option<&str>, at: i64) -> Value {
    json!({
        "object": "organization_membership", "id": id, "role": role, "permissions": [], "public_metadata": {},
        "organization": organization,
        "public_user_data": {
            "user_id": user["id"], "first_name": user["first_name"], "last_name": user["last_name"],
            "identifier": "not-an-address", "has_image": false,
        },
        "created_at": at, "updated_at": at,
    })
}

impl Directory {
    /// The seeded dealerships and people.
    #[must_use]
    pub fn seeded() -> Self {
        let organizations =
            DEALERSHIPS.map(|one| organization(one.clerk_org_id, one.name, Some(one.slug), FOUNDED_MS));
        let users = PEOPLE
            .map(|one| user(one.clerk_user_id, one.first_name, Some(one.last_name), one.email, FOUNDED_MS));
        let mut directory =
            Self { organizations: organizations.into(), users: users.into(), memberships: Vec::new() };
        for (one, at) in MEMBERSHIPS.iter().zip((FOUNDED_MS..).step_by(1_000)) {
            let role = match one.role {
                "sales_rep" => "org:member",
                "manager" => "org:manager",
                _ => "org:admin",
            };
            directory.join(
                one.clerk_membership_id,
                one.dealership.clerk_org_id,
                one.person.clerk_user_id,
                Some(role),
                at,
            );
        }
        directory
    }

    /// Adds a membership of two that are there, and else nothing.
    pub fn join(&mut self, id: &str, organization: &str, user: &str, role: Option<&str>, at: i64) {
        if let (Some(o), Some(u)) = (by_id(&self.organizations, organization), by_id(&self.users, user)) {
            self.memberships.push(membership(id, o, u, role, at));
        }
    }

    /// Deletes an organization, a person or a membership, with the memberships of the former.
    pub fn delete(&mut self, id: &str) {
        self.organizations.retain(|one| one["id"] != id);
        self.users.retain(|one| one["id"] != id);
        self.memberships.retain(|one| {
            one["id"] != id && one["organization"]["id"] != id && one["public_user_data"]["user_id"] != id
        });
    }
}

fn by_id<'a>(all: &'a [Value], id: &str) -> Option<&'a Value> {
    all.iter().find(|one| one["id"] == id)
}

impl Default for Backend {
    fn default() -> Self {
        Self::new(Directory::seeded())
    }
}

impl Backend {
    /// An API that knows this.
    #[must_use]
    pub fn new(directory: Directory) -> Self {
        let (hidden, faults, asked) = Default::default();
        Self(Mutex::new(State { directory, hidden, largest_page: MAX_LIMIT, faults, asked }))
    }

    /// Changes what it knows.
    pub fn edit(&self, edit: impl FnOnce(&mut Directory)) {
        edit(&mut self.state().directory);
    }

    /// From now on its lists pass over the object of this id, which is there all the same.
    pub fn hide(&self, id: &str) {
        self.state().hidden.push(id.to_owned());
    }

    /// From now on no page has more objects, whatever the request says.
    pub fn limit_pages(&self, most: usize) {
        self.state().largest_page = most;
    }

    /// What befalls the next requests, one after the other.
    pub fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state().faults.extend(faults);
    }

    /// The requests that came, in their order.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.state().asked.clone()
    }

    /// Answers until the listener fails.
    ///
    /// # Errors
    /// When the listener accepts no more connections.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) -> io::Result<()> {
        http::serve(listener, move |request, _| {
            let (backend, (request, _)) = (Arc::clone(&self), request.into_parts());
            async move { backend.reply(&request) }
        })
        .await
    }

    pub(super) fn reply(&self, request: &Parts) -> Response<Full<Bytes>> {
        let refused =
            |status, code: &str| http::json(status, json!({ "errors": [{ "code": code }] }).to_string());
        let nothing = || refused(StatusCode::NOT_FOUND, "resource_not_found");
        let target = request.uri.to_string();
        let url = Url::parse(&format!("http://clerk{target}")).ok().filter(|_| request.method == Method::GET);
        let Some(url) = url else { return nothing() };
        let mut state = self.state();
        state.asked.push(Asked { at: Instant::now(), target });
        let key = request.headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        if key != Some(format!("Bearer {SECRET_KEY}").as_bytes()) {
            return refused(StatusCode::UNAUTHORIZED, "secret_key_invalid");
        }
        match state.faults.pop_front() {
            Some(Fault::TooMany(seconds)) => {
                let mut late = http::json(StatusCode::TOO_MANY_REQUESTS, String::new());
                late.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
                return late;
            }
            Some(Fault::Status(status)) => return http::json(http::status(status), String::new()),
            Some(Fault::None) | None => {}
        }
        let query: HashMap<String, String> = url.query_pairs().into_owned().collect();
        let path: Vec<&str> = url.path().trim_start_matches('/').split('/').collect();
        let answer = state.answer(&path, &query);
        answer.map_or_else(nothing, |json| http::json(StatusCode::OK, json.to_string()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn answer(&self, path: &[&str], query: &HashMap<String, String>) -> Option<Value> {
        let Directory { organizations, users, memberships } = &self.directory;
        match path {
            ["v1", "instance"] => Some(json!({ "object": "instance", "id": INSTANCE_ID })),
            ["v1", "organizations"] => Some(self.counted(organizations, query)),
            ["v1", "organizations", named] => {
                organizations.iter().find(|one| one["id"] == *named || one["slug"] == *named).cloned()
            }
            ["v1", "organizations", id, "memberships"] => {
                by_id(organizations, id)?;
                let of = memberships.iter().filter(|one| one["organization"]["id"] == *id);
                let asked_for = query.get("user_id");
                let of = of
                    .filter(|one| asked_for.is_none_or(|user| one["public_user_data"]["user_id"] == **user));
                Some(self.counted(&of.cloned().collect::<Vec<_>>(), query))
            }
            ["v1", "organization_memberships"] => Some(self.counted(memberships, query)),
            ["v1", "users"] => {
                let here = |user: &Value, id: &str| {
                    memberships.iter().any(|one| {
                        one["organization"]["id"] == id && one["public_user_data"]["user_id"] == user["id"]
                    })
                };
                let organization = query.get("organization_id");
                let of = users.iter().filter(|user| organization.is_none_or(|id| here(user, id)));
                Some(Value::Array(self.page(&of.cloned().collect::<Vec<_>>(), query)))
            }
            ["v1", "users", id] => by_id(users, id).cloned(),
            _ => None,
        }
    }

    fn counted(&self, all: &[Value], query: &HashMap<String, String>) -> Value {
        json!({ "data": self.page(all, query), "total_count": all.len() })
    }

    /// Whoever asks for one by itself gets it although lists pass over it.
    fn page(&self, all: &[Value], query: &HashMap<String, String>) -> Vec<Value> {
        let number =
            |name: &str, default| query.get(name).and_then(|text| text.parse().ok()).unwrap_or(default);
        let by_itself = query.contains_key("user_id");
        let mut listed: Vec<&Value> = all
            .iter()
            .filter(|one| by_itself || !self.hidden.iter().any(|hidden| one["id"] == **hidden))
            .collect();
        listed.sort_by_key(|one| one["created_at"].as_i64());
        if query.get("order_by").is_none_or(|order| order == "-created_at") {
            listed.reverse();
        }
        let after =
            query.get("starting_after").and_then(|id| listed.iter().position(|one| one["id"] == **id));
        let start = after.map_or_else(|| number("offset", 0), |position| position + 1);
        let most = number("limit", DEFAULT_LIMIT).min(self.largest_page);
        listed.into_iter().skip(start).take(most).cloned().collect()
    }
}
