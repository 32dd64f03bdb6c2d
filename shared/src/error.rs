//! Errors: one text for the caller and one for the log. The text for the log is never sent to the caller.
use std::error::Error;

pub use lambda_http::http::StatusCode;
use lambda_http::http::{HeaderValue, header};
use lambda_http::{Body, Response};
use serde::Serialize;

use crate::chain::chain;
use crate::schema::JsonSchema;

/// How long a caller should wait before it tries again while a dependency is down, in seconds.
const RETRY_AFTER_SECONDS: u32 = 1;

/// The answer to a request that failed: `application/problem+json` after RFC 9457, with a stable `code`.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    detail: &'static str,
    fields: Vec<FieldError>,
    /// Seconds.
    retry_after: Option<u32>,
    /// How a refused caller may authenticate (`WWW-Authenticate`).
    challenge: Option<&'static str>,
    /// For the log only.
    cause: Option<Box<str>>,
    /// The constraint that the request broke, until its route has answered for it.
    constraint: Option<Box<str>>,
}

/// A constraint of the database by its name, and the answer to a request that breaks it.
pub type Constraint = (&'static str, fn() -> ApiError);

/// One invalid field of a body, a query or a path.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize)]
pub struct FieldError {
    /// The name of the field, such as `attribution.utm_source`.
    pub field: String,
    /// The kind of mistake: `required`, `unknown`, `type` or `invalid`.
    pub code: &'static str,
    /// What is wrong with the value, as a sentence without its subject.
    pub message: String,
}

impl FieldError {
    /// An error at `field`.
    pub fn new(field: impl Into<String>, code: &'static str, message: impl Into<String>) -> Self {
        Self { field: field.into(), code, message: message.into() }
    }
}

/// The body of every refusal (RFC 9457). Programs go by `code`; the other texts are for people.
#[derive(JsonSchema, Serialize)]
pub struct Problem<'a> {
    /// Always `about:blank`: the kind of problem is the `code`.
    r#type: &'static str,
    /// The status in words.
    title: &'a str,
    /// The HTTP status.
    status: u16,
    /// The stable code of the problem.
    code: &'a str,
    /// What is wrong.
    detail: &'a str,
    /// The id of the request, by which it is found in the log.
    request_id: &'a str,
    /// Every invalid field or parameter.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
}

impl ApiError {
    /// Any status with its `code` and a sentence for the caller.
    #[must_use]
    pub fn new(status: StatusCode, code: &'static str, detail: &'static str) -> Self {
        Self {
            status,
            code,
            detail,
            fields: Vec::new(),
            retry_after: None,
            challenge: None,
            cause: None,
            constraint: None,
        }
    }

    /// 400: the request cannot be read at all.
    #[must_use]
    pub fn bad_request(code: &'static str, detail: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// 400 with the fields of the path or query that are wrong.
    #[must_use]
    pub fn bad_parameters(fields: Vec<FieldError>) -> Self {
        Self {
            fields,
            ..Self::bad_request("invalid_parameters", "Some parameters of the URL are not valid.")
        }
    }

    /// 401: no caller, or an unknown one. Every refused token gets the same answer; `reason` is for the log.
    #[must_use]
    pub fn unauthorized(detail: &'static str, reason: &str) -> Self {
        Self { challenge: Some("Bearer"), ..Self::bad_signature(detail, reason) }
    }

    /// 401 to a service that signs its messages and has no token; `reason` is for the log.
    #[must_use]
    pub fn bad_signature(detail: &'static str, reason: &str) -> Self {
        let error = Self::new(StatusCode::UNAUTHORIZED, "unauthorized", detail);
        Self { cause: Some(reason.into()), ..error }
    }

    /// 403: the caller is known and may not do this.
    #[must_use]
    pub fn forbidden(code: &'static str, detail: &'static str) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, detail)
    }

    /// 403: the caller's role does not allow what the route does.
    #[must_use]
    pub(crate) fn role_forbids() -> Self {
        Self::forbidden("forbidden", "Your role does not allow this.")
    }

    /// 404: it does not exist, or is another dealership's. The answer is the same.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "There is nothing here that you can see.")
    }

    /// 409: the state of the resource does not allow this.
    #[must_use]
    pub fn conflict(code: &'static str, detail: &'static str) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }

    /// 412: `If-Match` names another version.
    #[must_use]
    pub fn precondition_failed() -> Self {
        let detail = "It has changed since: get it again and repeat the change on the new ETag.";
        Self::new(StatusCode::PRECONDITION_FAILED, "precondition_failed", detail)
    }

    /// 413: the body is larger than the route's limit.
    #[must_use]
    pub fn too_large(detail: &'static str) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
    }

    /// 422 with every invalid field of the body.
    #[must_use]
    pub fn invalid(fields: Vec<FieldError>) -> Self {
        let detail = "Some fields of the body are not valid.";
        Self { fields, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "validation_failed", detail) }
    }

    /// 422: an `Idempotency-Key` was sent again with another body.
    #[must_use]
    pub fn idempotency_key_reused() -> Self {
        let detail = "This Idempotency-Key was used for another body.";
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused", detail)
    }

    /// 429: too many requests from this caller, who may try again after `retry_after` seconds.
    #[must_use]
    pub fn too_many_requests(retry_after: u32) -> Self {
        let detail = "Too many requests came from your address. Try again later.";
        let error = Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", detail);
        Self { retry_after: Some(retry_after), ..error }
    }

    /// 503: a dependency is down; the same request may succeed in a moment.
    #[must_use]
    pub fn unavailable(cause: impl Error + 'static) -> Self {
        let detail = "A service we need is not reachable. Try again in a moment.";
        let error = Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail);
        Self { retry_after: Some(RETRY_AFTER_SECONDS), cause: Some(chain(&cause).into()), ..error }
    }

    /// 500: our fault. The cause is logged and not sent.
    #[must_use]
    pub fn internal(cause: impl Error + 'static) -> Self {
        let detail = "Something went wrong on our side.";
        let error = Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail);
        Self { cause: Some(chain(&cause).into()), ..error }
    }

    /// 500, unless the route has an answer to the constraint of this name.
    #[must_use]
    pub(crate) fn constraint(name: &str, cause: impl Error + 'static) -> Self {
        Self { constraint: Some(name.into()), ..Self::internal(cause) }
    }

    /// The answer that `constraints` have to the constraint that was broken. One that is in none of them cannot be
    /// broken by a request: that is our fault, and stays a 500.
    #[must_use]
    pub(crate) fn resolved(self, constraints: &[&[Constraint]]) -> Self {
        let Some(name) = &self.constraint else { return self };
        let answer = constraints.iter().copied().flatten().find(|(constraint, _)| **constraint == **name);
        answer.map(|(_, answer)| answer()).unwrap_or(self)
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code
    }

    pub(crate) fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }

    /// The answer, with the id that the log has for the request too.
    #[must_use]
    pub fn into_response(self, request_id: &str) -> Response<Body> {
        let problem = Problem {
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or_default(),
            status: self.status.as_u16(),
            code: self.code,
            detail: self.detail,
            request_id,
            errors: &self.fields,
        };
        let mut response = Response::new(Body::from(serde_json::to_string(&problem).unwrap_or_default()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(challenge) = self.challenge {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
