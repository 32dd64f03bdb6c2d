//! Clerk's Backend API, as far as we use it. Paths, parameters and fields are those of Clerk's published OpenAPI
//! document of 2026-05-12 (github.com/clerk/openapi-specs, `bapi/2026-05-12.yml`).
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, StatusCode, Url};
use serde::Deserialize;
use serde_json::Value;
use shared::config::{Settings, StartupError};
use shared::outbound;
use tenancy::clerk::{Object, without_nul};
use thiserror::Error;

/// Where the API is unless `CLERK_API_URL` says otherwise.
const DEFAULT_URL: &str = "https://api.clerk.com";
/// For one request: a page of 500 people takes Clerk about a second.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The largest answer read, in bytes: a page of 500 people with much metadata has some megabytes.
const MAX_BODY_BYTES: usize = 32 * 1024 * 1024;
/// The most objects that Clerk puts into one page.
const PAGE: &str = "500";
/// Repetitions of a request that may yet succeed.
const MAX_RETRIES: usize = 5;
/// Before the first repetition; then twice as long each time, with jitter.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause of our own choice.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// The longest pause that Clerk can ask for; its limits are per 10 s.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60);

/// Where the API is, and a client with our key.
pub(crate) struct Api {
    base: Url,
    client: Client,
}

/// Why Clerk gave no answer.
#[derive(Debug, Error)]
pub enum ClerkError {
    /// 401 or 403.
    #[error("Clerk refuses CLERK_SECRET_KEY for {path} (status {status})")]
    Key {
        /// The path of the request.
        path: String,
        /// 401 or 403.
        status: u16,
    },
    /// 429, again and again.
    #[error("Clerk's rate limit is reached")]
    Busy {
        /// How long Clerk wants us to wait.
        retry_after: Option<Duration>,
    },
    /// Any other status.
    #[error("Clerk answers {path} with status {status}")]
    Status {
        /// The path of the request.
        path: String,
        /// The status.
        status: u16,
    },
    /// No answer came.
    #[error("Clerk cannot be reached")]
    Request(#[source] reqwest::Error),
    /// More than we read.
    #[error("Clerk's answer has more than {MAX_BODY_BYTES} bytes")]
    TooLarge,
    /// Not the JSON that the API documents.
    #[error("Clerk's answer to {path} is not what its documentation says")]
    Invalid {
        /// The path of the request.
        path: String,
    },
}

/// A list of several pages, and how far it has been read.
pub(crate) struct List {
    path: Vec<String>,
    filter: Option<(&'static str, String)>,
    /// Whether a page begins after the last one's id; else it begins at a number.
    by_cursor: bool,
    offset: usize,
    last: Option<String>,
}

#[derive(Deserialize)]
struct Instance {
    id: String,
}

/// The answer of most lists; the list of people is a plain array.
#[derive(Deserialize)]
struct Page {
    data: Vec<Value>,
}

impl Api {
    pub(crate) async fn read(settings: &Settings) -> Result<Self, StartupError> {
        let key = settings.required("CLERK_SECRET_KEY").await?;
        let url = settings.optional("CLERK_API_URL").await?;
        let url = url.as_deref().unwrap_or(DEFAULT_URL);
        let base = outbound::url(url).filter(|url| !url.cannot_be_a_base()).ok_or_else(|| {
            StartupError::Invalid("CLERK_API_URL", "not an https:// URL (http:// is for this machine)".into())
        })?;
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", key.trim()))
            .map_err(|_| StartupError::Invalid("CLERK_SECRET_KEY", "no key has such characters".into()))?;
        bearer.set_sensitive(true);
        let client = outbound::client(TIMEOUT)
            .default_headers(HeaderMap::from_iter([(AUTHORIZATION, bearer)]))
            .build()
            .map_err(|error| StartupError::Invalid("CLERK_API_URL", error.to_string()))?;
        Ok(Self { base, client })
    }

    /// The id of the key's instance, `ins_…`.
    pub(crate) async fn instance(&self) -> Result<String, ClerkError> {
        let url = self.url(&["instance"], &[]);
        let instance = self.get(&url).await?.and_then(|json| Instance::deserialize(json).ok());
        instance.map(|instance| instance.id).ok_or_else(|| invalid(&url))
    }

    /// The organization with this id or slug, if Clerk has it.
    pub(crate) async fn organization(&self, id_or_slug: &str) -> Result<Option<Value>, ClerkError> {
        self.get(&self.url(&["organizations", id_or_slug], &[])).await
    }

    /// The person with this id, if Clerk has them.
    pub(crate) async fn user(&self, id: &str) -> Result<Option<Value>, ClerkError> {
        self.get(&self.url(&["users", id], &[])).await
    }

    /// The person's membership in the organization, if Clerk has both and it.
    pub(crate) async fn membership(
        &self,
        organization: &str,
        user: &str,
    ) -> Result<Option<Value>, ClerkError> {
        let url = self.url(&["organizations", organization, "memberships"], &[("user_id", user)]);
        let Some(json) = self.get(&url).await? else { return Ok(None) };
        let mut page = Page::deserialize(json).map_err(|_| invalid(&url))?.data;
        // Should Clerk ever ignore the filter, another person's membership is not taken for this one's.
        page.retain(|membership| membership["public_user_data"]["user_id"] == user);
        Ok(page.pop())
    }

    /// The next page of a list; an empty one ends it.
    pub(crate) async fn next(&self, list: &mut List) -> Result<Vec<Value>, ClerkError> {
        let path: Vec<&str> = list.path.iter().map(String::as_str).collect();
        let offset = list.offset.to_string();
        let mut query = vec![("limit", PAGE), ("order_by", "+created_at")];
        query.extend(list.filter.as_ref().map(|(name, value)| (*name, value.as_str())));
        match &list.last {
            Some(last) if list.by_cursor => query.push(("starting_after", last)),
            _ => query.push(("offset", &offset)),
        }
        let url = self.url(&path, &query);
        let page = match self.get(&url).await? {
            Some(Value::Array(page)) => page,
            Some(json) => Page::deserialize(json).map_err(|_| invalid(&url))?.data,
            None => Vec::new(),
        };
        list.offset += page.len();
        list.last = page.last().and_then(|object| object["id"].as_str()).map(str::to_owned);
        Ok(page)
    }

    fn url(&self, path: &[&str], query: &[(&str, &str)]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("v1").extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    /// The answer, or none for a 404. Repeats what may yet succeed.
    async fn get(&self, url: &Url) -> Result<Option<Value>, ClerkError> {
        let pauses = ExponentialBuilder::new()
            .with_min_delay(FIRST_PAUSE)
            .with_max_delay(LONGEST_PAUSE)
            .with_max_times(MAX_RETRIES)
            .with_jitter();
        (|| self.try_get(url)).retry(pauses).when(ClerkError::may_pass).adjust(ClerkError::pause).await
    }

    async fn try_get(&self, url: &Url) -> Result<Option<Value>, ClerkError> {
        // The query of a URL has ids in it, so errors have the path alone.
        let broken = |error: reqwest::Error| ClerkError::Request(error.without_url());
        let response = self.client.get(url.clone()).send().await.map_err(broken)?;
        let path = || url.path().to_owned();
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            StatusCode::TOO_MANY_REQUESTS => {
                return Err(ClerkError::Busy { retry_after: retry_after(response.headers()) });
            }
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                return Err(ClerkError::Key { path: path(), status: status.as_u16() });
            }
            status => return Err(ClerkError::Status { path: path(), status: status.as_u16() }),
        }
        let body = outbound::body(response, MAX_BODY_BYTES).await.map_err(broken)?;
        let json = serde_json::from_slice(&body.ok_or(ClerkError::TooLarge)?);
        json.map(|json| Some(without_nul(json))).map_err(|_| invalid(url))
    }
}

impl ClerkError {
    /// Whether the same request may yet succeed.
    fn may_pass(&self) -> bool {
        match self {
            Self::Busy { .. } | Self::Request(_) => true,
            Self::Status { status, .. } => *status >= 500,
            Self::Key { .. } | Self::TooLarge | Self::Invalid { .. } => false,
        }
    }

    /// The pause that Clerk asks for, else ours; none when it is time to give up.
    fn pause(&self, ours: Option<Duration>) -> Option<Duration> {
        match self {
            Self::Busy { retry_after: Some(theirs) } => ours.map(|_| (*theirs).min(LONGEST_RETRY_AFTER)),
            _ => ours,
        }
    }
}

impl List {
    /// The list of all objects, or of those of one organization. A list by number skips an object when another is deleted
    /// meanwhile; people, the longest list, are therefore read by the last one's id, as the documentation asks.
    pub(crate) fn of(object: Object, organization: Option<&str>) -> Self {
        let path = |path: &[&str]| path.iter().map(|&segment| segment.to_owned()).collect();
        let (path, filter) = match (object, organization) {
            (Object::Organization, _) => (path(&["organizations"]), None),
            (Object::User, None) => (path(&["users"]), None),
            (Object::User, Some(id)) => (path(&["users"]), Some(("organization_id", id.to_owned()))),
            (Object::Membership, None) => (path(&["organization_memberships"]), None),
            (Object::Membership, Some(id)) => (path(&["organizations", id, "memberships"]), None),
        };
        Self { path, filter, by_cursor: object == Object::User, offset: 0, last: None }
    }
}

fn invalid(url: &Url) -> ClerkError {
    ClerkError::Invalid { path: url.path().to_owned() }
}

/// Clerk sends seconds.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: Option<Duration> = Some(Duration::from_secs(2));

    fn busy(value: Option<&'static str>) -> ClerkError {
        let headers = value.map(|value| (RETRY_AFTER, HeaderValue::from_static(value)));
        ClerkError::Busy { retry_after: retry_after(&headers.into_iter().collect()) }
    }

    #[test]
    fn we_wait_as_long_as_clerk_asks_within_bounds() {
        for (theirs, seconds) in [("0", 0), ("7", 7), (" 60 ", 60), ("61", 60), ("18446744073709551615", 60)]
        {
            assert_eq!(busy(Some(theirs)).pause(OURS), Some(Duration::from_secs(seconds)), "{theirs}");
        }
        for theirs in [None, Some(""), Some("-1"), Some("soon"), Some("Fri, 20 Nov 2026 12:00:00 GMT")] {
            assert_eq!(busy(theirs).pause(OURS), OURS, "{theirs:?}");
        }
        assert_eq!(busy(Some("7")).pause(None), None, "in the end we give up");
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let status = |status| ClerkError::Status { path: String::new(), status };
        assert!(busy(None).may_pass() && status(500).may_pass() && status(503).may_pass());
        for error in [status(400), status(422), status(302), ClerkError::TooLarge] {
            assert!(!error.may_pass(), "{error}");
        }
        let refused = ClerkError::Key { path: String::new(), status: 401 };
        assert!(!refused.may_pass() && refused.pause(OURS) == OURS);
    }
}
