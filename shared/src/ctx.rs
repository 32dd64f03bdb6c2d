//! What a handler works with: one request, read and checked, and the ways from it to the database.
use std::collections::BTreeSet;
use std::net::IpAddr;

use deserr::Deserr;
use lambda_http::http::{Method, StatusCode, header};
use lambda_http::request::RequestContext;
use lambda_http::{Body, Request, RequestExt};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::auth::{Claims, Organization, Permission, Role, TokenError, Verifier};
use crate::clock::Clock;
use crate::config::StartupError;
use crate::db::{Access, Database, Gate, Row, Scope, ping_outside_any_scope};
use crate::error::{ApiError, FieldError};
use crate::fields::{self, FieldErrors, Id, Text};
use crate::telemetry::Invocation;

/// Bytes of a body, decoded; checked before it is read any further.
pub const MAX_BODY_BYTES: usize = 64 * 1024;
/// Characters of an `Idempotency-Key`.
const MAX_IDEMPOTENCY_KEY_CHARS: usize = 255;

/// One request, and the ways from it to the database.
pub struct Ctx<'a> {
    pub(crate) request: &'a Request,
    /// None for a route that is public.
    pub(crate) verifier: Option<&'a Verifier>,
    pub(crate) database: &'a Database,
    pub(crate) clock: &'a Clock,
    pub(crate) invocation: &'a Invocation,
}

impl Ctx<'_> {
    /// The scope of the calling member, who needs one of `permissions`: at least one is named, or it does not
    /// compile. Verifies the session token and touches no database.
    ///
    /// # Errors
    /// 401 without a good token, 403 without a dealership or permission, 503 when Clerk's keys cannot be had. For a
    /// token that names no role the database judges the permission, by the role that it has: the scope's first
    /// statement is then the 403.
    pub async fn member<const N: usize>(&self, permissions: &[Permission; N]) -> Result<Scope<'_>, ApiError> {
        const { assert!(N > 0, "a route for every member calls any_member") };
        let (claims, organization) = self.caller().await?;
        if organization.names_role && !organization.role.has_any(permissions) {
            return Err(ApiError::role_forbids());
        }
        Ok(self.scope(claims, organization, |role| role.has_any(permissions)))
    }

    /// The scope of the calling member, in any role.
    ///
    /// # Errors
    /// As [`Ctx::member`], without the permission.
    pub async fn any_member(&self) -> Result<Scope<'_>, ApiError> {
        let (claims, organization) = self.caller().await?;
        Ok(self.scope(claims, organization, |_| true))
    }

    /// The scope of a dealership's public form: it can insert, and see nothing.
    pub fn intake(&self, dealership: Uuid) -> Scope<'_> {
        Scope::new(self.database, Gate::Intake(dealership), Access::Write, &self.invocation.stats)
    }

    /// The scope of Clerk's webhooks. Verify the signature first.
    pub fn provisioning(&self) -> Scope<'_> {
        Scope::new(self.database, Gate::Provisioning, Access::Write, &self.invocation.stats)
    }

    /// Asks the database for a sign of life, outside any scope: for the health check and nothing else.
    ///
    /// # Errors
    /// 503 when there is none.
    pub async fn ping_database_outside_any_scope(&self) -> Result<(), ApiError> {
        ping_outside_any_scope(self.database, &self.invocation.stats).await.map_err(ApiError::from)
    }

    /// The current time, by the clock that a test can set.
    #[must_use]
    pub fn now(&self) -> jiff::Timestamp {
        self.clock.now()
    }

    /// A header that is there once and is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.request.headers().get_all(name).iter();
        values.next().filter(|_| values.next().is_none())?.to_str().ok()
    }

    /// The address that API Gateway or the function URL received the request from. An IPv6 address is cut to its /64,
    /// the network of one household.
    #[must_use]
    pub fn source_address(&self) -> Option<String> {
        let Some(RequestContext::ApiGatewayV2(context)) = self.request.request_context_ref() else {
            return None;
        };
        Some(match context.http.source_ip.as_deref()?.parse().ok()? {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("{:x?}", &address.segments()[..4]),
        })
    }

    /// An id in the path.
    ///
    /// # Errors
    /// 400 when it is no UUID.
    pub fn path_id(&self, name: &str) -> Result<Uuid, ApiError> {
        let parameters = self.request.path_parameters();
        let id = Id::parse(parameters.first(name).unwrap_or_default().to_owned());
        id.map(|id| id.0)
            .map_err(|invalid| ApiError::bad_parameters(vec![FieldError::new(name, "invalid", invalid.0)]))
    }

    /// The query string as `T`; every value is text.
    ///
    /// # Errors
    /// 400 with every unknown, repeated or invalid parameter.
    pub fn query<T: Deserr<FieldErrors>>(&self) -> Result<T, ApiError> {
        let query = self.request.uri().query().unwrap_or_default();
        let (parameters, mut errors) = pairs(query.as_bytes());
        match fields::read(parameters) {
            Ok(query) if errors.is_empty() => Ok(query),
            read => {
                errors.extend(read.err().unwrap_or_default());
                Err(ApiError::bad_parameters(errors))
            }
        }
    }

    /// The query string as two: the parameters of these names as `F`, and what is left as `T`.
    ///
    /// # Errors
    /// As [`Ctx::query`].
    pub fn query_with<F: Deserr<FieldErrors>, T: Deserr<FieldErrors>>(
        &self,
        names: &[&str],
    ) -> Result<(F, T), ApiError> {
        let query = self.request.uri().query().unwrap_or_default();
        let (mut parameters, mut errors) = pairs(query.as_bytes());
        let mut filters = Map::new();
        for name in names {
            filters.extend(parameters.as_object_mut().and_then(|parameters| parameters.remove_entry(*name)));
        }
        match (fields::read(parameters), fields::read(Value::Object(filters))) {
            (Ok(query), Ok(filters)) if errors.is_empty() => Ok((filters, query)),
            (query, filters) => {
                errors.extend(query.err().into_iter().flatten());
                errors.extend(filters.err().into_iter().flatten());
                Err(ApiError::bad_parameters(errors))
            }
        }
    }

    /// For a route that has no query parameters.
    ///
    /// # Errors
    /// 400 with every parameter that was sent.
    pub fn no_query(&self) -> Result<(), ApiError> {
        self.query().map(|NoQuery {}| ())
    }

    /// The JSON body as `T`; a PATCH may call it a merge patch.
    ///
    /// # Errors
    /// 413, 415, 400 when it is no JSON, 422 with every invalid field.
    pub fn json<T: Deserr<FieldErrors>>(&self) -> Result<T, ApiError> {
        let is_patch = self.request.method() == Method::PATCH;
        match self.content_type().as_str() {
            "application/json" => {}
            "application/merge-patch+json" if is_patch => {}
            _ => return Err(unsupported_media_type("Send JSON, as content-type application/json.")),
        }
        fields::read(self.json_value()?).map_err(ApiError::invalid)
    }

    /// The raw bytes of the body, as the sender signed them.
    ///
    /// # Errors
    /// 413 above [`MAX_BODY_BYTES`].
    pub fn body(&self) -> Result<&[u8], ApiError> {
        self.bounded(MAX_BODY_BYTES, "The body has more than 64 KiB.")
    }

    /// The bytes of a file, whose content type is one of `content_types` and whose length is at most `max_bytes`.
    ///
    /// # Errors
    /// 413, 415, 422 when the gateway has put U+FFFD for letters: it passes a body of `text/*` on as UTF-8, so a file in
    /// another encoding has to come under a type that it takes for binary.
    pub fn file(&self, content_types: &[&str], max_bytes: usize) -> Result<&[u8], ApiError> {
        if !content_types.contains(&self.content_type().as_str()) {
            return Err(unsupported_media_type("This content-type is none that we read here."));
        }
        let file = self.bounded(max_bytes, "The file is too large.")?;
        match self.request.body() {
            Body::Text(text) if text.contains('\u{fffd}') => Err(ApiError::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "letters_lost",
                "Some letters were lost on the way. Send the file as content-type application/octet-stream.",
            )),
            _ => Ok(file),
        }
    }

    fn bounded(&self, max_bytes: usize, detail: &'static str) -> Result<&[u8], ApiError> {
        let body: &[u8] = self.request.body().as_ref();
        if body.len() > max_bytes {
            return Err(ApiError::too_large(detail));
        }
        Ok(body)
    }

    /// The versions that `If-Match` allows; `None` without the header or for `*`. A tag that is none of ours
    /// matches nothing.
    #[must_use]
    pub fn if_match(&self) -> Option<Vec<i32>> {
        if !self.request.headers().contains_key(header::IF_MATCH) {
            return None;
        }
        let tags = self.header(header::IF_MATCH.as_str()).unwrap_or_default();
        let version = |tag: &str| tag.trim().strip_prefix('"')?.strip_suffix('"')?.parse().ok();
        (tags.trim() != "*").then(|| tags.split(',').filter_map(version).collect())
    }

    /// The `Idempotency-Key`, with the hash of the body that it stands for.
    ///
    /// # Errors
    /// 400 when the key is blank or too long, 413 for the body.
    pub fn idempotency(&self) -> Result<Idempotency, ApiError> {
        self.idempotency_of(self.body()?)
    }

    /// The same for a body that has been read by [`Ctx::file`].
    ///
    /// # Errors
    /// 400 when the key is blank or too long.
    pub fn idempotency_of(&self, body: &[u8]) -> Result<Idempotency, ApiError> {
        let Some(key) = self.request.headers().get("idempotency-key") else {
            return Ok(Idempotency::default());
        };
        let key =
            key.to_str().ok().and_then(|key| Text::<MAX_IDEMPOTENCY_KEY_CHARS>::parse(key.to_owned()).ok());
        let Some(key) = key else {
            return Err(ApiError::bad_request(
                "invalid_idempotency_key",
                "Idempotency-Key has 1 to 255 characters.",
            ));
        };
        let request_hash = Sha256::digest(body).to_vec();
        Ok(Idempotency { key: Some(key.as_str().to_owned()), request_hash })
    }

    /// The verified caller and the dealership they have chosen.
    async fn caller(&self) -> Result<(Claims, Organization), ApiError> {
        let claims = self.claims().await?;
        match claims.organization.clone() {
            Some(organization) => Ok((claims, organization)),
            None => Err(ApiError::forbidden(
                "no_organization",
                "The token names no organization: choose one first.",
            )),
        }
    }

    fn scope(&self, claims: Claims, organization: Organization, may: impl Fn(Role) -> bool) -> Scope<'_> {
        let allowed: Vec<Role> = Role::ALL.into_iter().filter(|role| may(*role)).collect();
        let gate = Gate::member(claims, organization, &allowed);
        let access = if self.request.method() == Method::GET { Access::Read } else { Access::Write };
        Scope::new(self.database, gate, access, &self.invocation.stats)
    }

    /// The verified caller.
    async fn claims(&self) -> Result<Claims, ApiError> {
        let Some(verifier) = self.verifier else {
            return Err(ApiError::internal(StartupError::Missing("CLERK_ISSUER")));
        };
        let authorization = self.header(header::AUTHORIZATION.as_str());
        let claims = verifier.verify(authorization).await.map_err(|error| match error {
            TokenError::Missing => {
                ApiError::unauthorized("Send a session token as Authorization: Bearer.", "token-missing")
            }
            TokenError::Rejected(reason) => {
                ApiError::unauthorized("The session token is not valid.", reason.code())
            }
            TokenError::KeysUnavailable(error) => ApiError::unavailable(error),
        })?;
        if let Some(actor) = &claims.actor {
            self.invocation.impersonated_by(actor);
        }
        Ok(claims)
    }

    fn json_value(&self) -> Result<Value, ApiError> {
        let json = serde_json::from_slice(self.body()?)
            .map_err(|_| ApiError::bad_request("malformed_json", "The body is not JSON."))?;
        if has_nul(&json) {
            return Err(ApiError::bad_request("malformed_json", "The body has a NUL character."));
        }
        Ok(json)
    }

    fn content_type(&self) -> String {
        let value = self.header(header::CONTENT_TYPE.as_str()).unwrap_or_default();
        value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }
}

#[derive(Deserr)]
#[deserr(error = FieldErrors, deny_unknown_fields)]
struct NoQuery {}

/// The key under which a creating POST is safe to repeat.
#[derive(Debug, Default)]
pub struct Idempotency {
    /// The caller's key, if they sent one.
    pub key: Option<String>,
    /// SHA-256 of the body; empty without a key.
    pub request_hash: Vec<u8>,
}

impl Idempotency {
    /// The row that the first request with this key made. The statement must also select `same_request`.
    ///
    /// # Errors
    /// 404 when there is none (any more), 422 when the key stood for another body.
    pub fn replayed<'r>(&self, rows: &'r [Row]) -> Result<&'r Row, ApiError> {
        let row = rows.first().ok_or_else(ApiError::not_found)?;
        if row.try_get("same_request")? {
            return Ok(row);
        }
        Err(ApiError::idempotency_key_reused())
    }
}

/// The names and values of a query string, as a JSON object of texts, and the names that occur more than once.
fn pairs(encoded: &[u8]) -> (Value, Vec<FieldError>) {
    let mut object = Map::new();
    let mut repeated = BTreeSet::new();
    for (name, value) in form_urlencoded::parse(encoded) {
        if object.insert(name.to_string(), Value::String(value.into_owned())).is_some() {
            repeated.insert(name);
        }
    }
    let error = |name| FieldError::new(name, "invalid", "must not be repeated");
    (Value::Object(object), repeated.into_iter().map(error).collect())
}

/// PostgreSQL's text and jsonb hold every character but NUL.
fn has_nul(json: &Value) -> bool {
    match json {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(fields) => fields.iter().any(|(name, value)| name.contains('\0') || has_nul(value)),
        _ => false,
    }
}

fn unsupported_media_type(detail: &'static str) -> ApiError {
    ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail)
}
