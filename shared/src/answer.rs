//! Successful answers; the others are in [`crate::error`].
use lambda_http::http::{HeaderValue, StatusCode, header};
use lambda_http::{Body, Response};
use serde::Serialize;

use crate::error::{ApiError, Constraint};

/// A successful answer.
#[derive(Debug)]
pub struct Answer {
    status: StatusCode,
    headers: Vec<(header::HeaderName, String)>,
    body: Option<String>,
    failure: Option<ApiError>,
}

impl Answer {
    /// Any status with a JSON body.
    ///
    /// # Errors
    /// 500 when `body` cannot be written as JSON, which does not happen with our types.
    pub fn json(status: StatusCode, body: &impl Serialize) -> Result<Self, ApiError> {
        let body = serde_json::to_string(body).map_err(ApiError::internal)?;
        Ok(Self { status, headers: Vec::new(), body: Some(body), failure: None })
    }

    /// 200 with a JSON body.
    ///
    /// # Errors
    /// As [`Answer::json`].
    pub fn ok(body: &impl Serialize) -> Result<Self, ApiError> {
        Self::json(StatusCode::OK, body)
    }

    /// 200 with text of this content type.
    #[must_use]
    pub fn text(content_type: &str, body: String) -> Self {
        let answer = Self { body: Some(body), ..Self::empty(StatusCode::OK) };
        answer.header(header::CONTENT_TYPE, content_type.to_owned())
    }

    /// 201 with the new resource and its location.
    ///
    /// # Errors
    /// As [`Answer::json`].
    pub fn created(location: String, body: &impl Serialize) -> Result<Self, ApiError> {
        Ok(Self::json(StatusCode::CREATED, body)?.header(header::LOCATION, location))
    }

    /// 204.
    #[must_use]
    pub fn no_content() -> Self {
        Self::empty(StatusCode::NO_CONTENT)
    }

    /// 303: the browser requests `location` next.
    #[must_use]
    pub fn see_other(location: String) -> Self {
        Self::empty(StatusCode::SEE_OTHER).header(header::LOCATION, location)
    }

    fn empty(status: StatusCode) -> Self {
        Self { status, headers: Vec::new(), body: None, failure: None }
    }

    /// Attaches an error that is logged but not shown to the caller.
    #[must_use]
    pub fn despite(self, failure: ApiError) -> Self {
        Self { failure: Some(failure), ..self }
    }

    pub(crate) fn resolved(self, constraints: &[&[Constraint]]) -> Self {
        Self { failure: self.failure.map(|failure| failure.resolved(constraints)), ..self }
    }

    pub(crate) fn failure(&self) -> Option<&ApiError> {
        self.failure.as_ref()
    }

    /// Adds the `ETag` of this version of the resource.
    #[must_use]
    pub fn etag(self, version: i32) -> Self {
        self.header(header::ETAG, format!("\"{version}\""))
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: header::HeaderName, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn into_response(self) -> Response<Body> {
        let is_json = self.body.is_some();
        let mut response = Response::new(self.body.map_or(Body::Empty, Body::from));
        *response.status_mut() = self.status;
        if is_json {
            let json = HeaderValue::from_static("application/json");
            response.headers_mut().insert(header::CONTENT_TYPE, json);
        }
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}
