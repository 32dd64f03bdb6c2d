//! The description of a route for the API's document. Types provide their own schemas; an [`Operation`] lists what the
//! handler asks of [`Ctx`](crate::Ctx) and what it answers, in the same words. No request calls this, so no function's
//! binary contains it.
use std::collections::BTreeSet;

use crate::auth::{Permission, Role};
use crate::error::StatusCode;
use crate::route::{Caller, Route};
use crate::schema::{JsonSchema, Schema, SchemaGenerator};

/// Makes the schema of a type: [`JsonSchema::json_schema`], or `subschema_for` for a reference to the components.
pub type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// The description of one route.
#[derive(Debug)]
pub struct Operation {
    /// The route.
    pub route: &'static Route,
    /// What the route does: one sentence without a full stop, its verb first.
    pub summary: &'static str,
    /// What else a caller needs to know, in Markdown.
    pub description: &'static str,
    /// The permissions of which a caller needs one; `None` for a route that asks for none.
    pub permissions: Option<Vec<Permission>>,
    /// Objects whose fields are the parameters of the query string.
    pub queries: Vec<SchemaOf>,
    /// The headers that the route reads.
    pub headers: Vec<Header>,
    /// The bodies that the route takes.
    pub bodies: Vec<Media>,
    /// The successes.
    pub answers: Vec<Success>,
    /// The refusals: statuses with their stable codes.
    pub refusals: BTreeSet<(u16, &'static str)>,
}

/// A header.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// The name in lower case.
    pub name: &'static str,
    /// A sentence about it.
    pub about: &'static str,
}

/// A body, of a request or an answer.
#[derive(Clone, Copy, Debug)]
pub struct Media {
    /// The content type.
    pub content_type: &'static str,
    /// The schema of its content; `None` for text or bytes.
    pub schema: Option<SchemaOf>,
}

impl Media {
    /// A body of this type.
    #[must_use]
    pub fn of<T: JsonSchema>(content_type: &'static str) -> Self {
        Self { content_type, schema: Some(by_reference::<T>) }
    }

    /// A body of text or bytes.
    #[must_use]
    pub fn raw(content_type: &'static str) -> Self {
        Self { content_type, schema: None }
    }
}

/// A successful answer.
#[derive(Clone, Debug)]
pub struct Success {
    /// The status.
    pub status: StatusCode,
    /// The body, if it has one.
    pub body: Option<Media>,
    /// The headers that it always has.
    pub headers: Vec<Header>,
    /// The headers that it may have.
    pub more_headers: Vec<Header>,
}

const ETAG: Header = Header { name: "etag", about: "The version of the lead, for `If-Match`." };
const LOCATION: Header = Header { name: "location", about: "Where to go for it." };

fn by_reference<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

impl Operation {
    /// A route for anyone, or for a peer who signs its requests.
    #[must_use]
    pub fn public(route: &'static Route) -> Self {
        let new = Self {
            route,
            summary: "",
            description: "",
            permissions: None,
            queries: Vec::new(),
            headers: Vec::new(),
            bodies: Vec::new(),
            answers: Vec::new(),
            refusals: BTreeSet::new(),
        };
        new.refusal(StatusCode::INTERNAL_SERVER_ERROR, &["internal"])
            .refusal(StatusCode::SERVICE_UNAVAILABLE, &["unavailable"])
    }

    /// A route for every member, as [`Ctx::any_member`](crate::Ctx::any_member).
    #[must_use]
    pub fn any_member(route: &'static Route) -> Self {
        let outsiders = ["dealership_suspended", "member_removed", "no_organization", "not_a_member"];
        Self::public(route)
            .refusal(StatusCode::UNAUTHORIZED, &["unauthorized"])
            .refusal(StatusCode::FORBIDDEN, &outsiders)
            .refusal(StatusCode::BAD_REQUEST, &["invalid_parameters"])
    }

    /// A route for members with one of `permissions`, as [`Ctx::member`](crate::Ctx::member).
    #[must_use]
    pub fn member(route: &'static Route, permissions: &[Permission]) -> Self {
        let member = Self::any_member(route).refusal(StatusCode::FORBIDDEN, &["forbidden"]);
        Self { permissions: Some(permissions.to_vec()), ..member }
    }

    /// Sets what the route does: one sentence without a full stop, its verb first.
    #[must_use]
    pub fn summary(mut self, summary: &'static str) -> Self {
        self.summary = summary;
        self
    }

    /// Adds what else a caller needs to know, in Markdown.
    #[must_use]
    pub fn describe(mut self, description: &'static str) -> Self {
        self.description = description;
        self
    }

    /// Whether the route is for members, with a session token.
    #[must_use]
    pub fn asks_for_a_token(&self) -> bool {
        self.route.caller == Caller::Member
    }

    /// The roles that may call it; all roles if it asks for no permission.
    #[must_use]
    pub fn roles(&self) -> Vec<Role> {
        let may = |role: &Role| self.permissions.as_ref().is_none_or(|permissions| role.has_any(permissions));
        Role::ALL.into_iter().filter(may).collect()
    }

    /// The path has an id, and the row may not exist.
    #[must_use]
    pub fn path_id(self) -> Self {
        self.refusal(StatusCode::BAD_REQUEST, &["invalid_parameters"])
            .refusal(StatusCode::NOT_FOUND, &["not_found"])
    }

    /// As [`Ctx::query`](crate::Ctx::query).
    #[must_use]
    pub fn query<T: JsonSchema>(mut self) -> Self {
        self.queries.push(T::json_schema);
        self
    }

    /// As [`Ctx::json`](crate::Ctx::json).
    #[must_use]
    pub fn json<T: JsonSchema>(self) -> Self {
        let patch = (self.route.method == "PATCH").then_some("application/merge-patch+json");
        let content_types = patch.into_iter().chain(["application/json"]);
        content_types
            .fold(self, |json, content_type| json.body(Media::of::<T>(content_type)))
            .refusal(StatusCode::BAD_REQUEST, &["malformed_json"])
            .refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, &["unsupported_media_type"])
            .refusal(StatusCode::UNPROCESSABLE_ENTITY, &["validation_failed"])
    }

    /// As [`Ctx::file`](crate::Ctx::file).
    #[must_use]
    pub fn file(self, content_types: &[&'static str]) -> Self {
        let any = |file: Self, content_type: &&'static str| file.body(Media::raw(content_type));
        content_types
            .iter()
            .fold(self, any)
            .refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, &["unsupported_media_type"])
            .refusal(StatusCode::UNPROCESSABLE_ENTITY, &["letters_lost"])
    }

    /// A body of this kind, as [`Ctx::body`](crate::Ctx::body).
    #[must_use]
    pub fn body(mut self, body: Media) -> Self {
        self.bodies.push(body);
        self.refusal(StatusCode::PAYLOAD_TOO_LARGE, &["too_large"])
    }

    /// As [`Ctx::idempotency`](crate::Ctx::idempotency). The row of the first request may be gone.
    #[must_use]
    pub fn idempotency(self) -> Self {
        let about = "1 to 255 characters. The same key with the same request makes nothing new.";
        self.reads_header("idempotency-key", about)
            .refusal(StatusCode::BAD_REQUEST, &["invalid_idempotency_key"])
            .refusal(StatusCode::NOT_FOUND, &["not_found"])
            .refusal(StatusCode::UNPROCESSABLE_ENTITY, &["idempotency_key_reused"])
    }

    /// As [`Ctx::if_match`](crate::Ctx::if_match).
    #[must_use]
    pub fn if_match(self) -> Self {
        let about = "The ETag of the version that is meant; any, if it is not sent.";
        self.reads_header("if-match", about)
            .refusal(StatusCode::PRECONDITION_FAILED, &["precondition_failed"])
    }

    /// The route reads a header.
    #[must_use]
    pub fn reads_header(mut self, name: &'static str, about: &'static str) -> Self {
        self.headers.push(Header { name, about });
        self
    }

    /// The route may refuse with this status and one of these codes.
    #[must_use]
    pub fn refusal(mut self, status: StatusCode, codes: &[&'static str]) -> Self {
        self.refusals.extend(codes.iter().map(|code| (status.as_u16(), *code)));
        self
    }

    /// The route may refuse with a 409 and one of these codes.
    #[must_use]
    pub fn conflict(self, codes: &[&'static str]) -> Self {
        self.refusal(StatusCode::CONFLICT, codes)
    }

    /// The route answers with this status and body.
    #[must_use]
    pub fn answer(mut self, status: StatusCode, body: Option<Media>) -> Self {
        self.answers.push(Success { status, body, headers: Vec::new(), more_headers: Vec::new() });
        self
    }

    /// The route answers with this status and a JSON body.
    #[must_use]
    pub fn answers_json<T: JsonSchema>(self, status: StatusCode) -> Self {
        self.answer(status, Some(Media { content_type: "application/json", schema: Some(by_reference::<T>) }))
    }

    /// As [`Answer::ok`](crate::Answer::ok).
    #[must_use]
    pub fn ok<T: JsonSchema>(self) -> Self {
        self.answers_json::<T>(StatusCode::OK)
    }

    /// As [`Answer::created`](crate::Answer::created).
    #[must_use]
    pub fn created<T: JsonSchema>(self) -> Self {
        self.answers_json::<T>(StatusCode::CREATED).with_headers(&[LOCATION])
    }

    /// As [`Answer::see_other`](crate::Answer::see_other).
    #[must_use]
    pub fn see_other(self) -> Self {
        self.answer(StatusCode::SEE_OTHER, None).with_headers(&[LOCATION])
    }

    /// As [`Answer::no_content`](crate::Answer::no_content).
    #[must_use]
    pub fn no_content(self) -> Self {
        self.answer(StatusCode::NO_CONTENT, None)
    }

    /// As [`Answer::etag`](crate::Answer::etag), for the success before it.
    #[must_use]
    pub fn etag(self) -> Self {
        self.with_headers(&[ETAG])
    }

    /// The success before it has these headers.
    #[must_use]
    pub fn with_headers(mut self, headers: &[Header]) -> Self {
        if let Some(answer) = self.answers.last_mut() {
            answer.headers.extend(headers);
        }
        self
    }

    /// The success before it may have these headers.
    #[must_use]
    pub fn may_have_headers(mut self, headers: &[Header]) -> Self {
        if let Some(answer) = self.answers.last_mut() {
            answer.more_headers.extend(headers);
        }
        self
    }
}
