//! Cross-origin requests, where the gateway answers for its functions: by the settings that `template.yaml` has, which
//! `tests/it/gateway.rs` holds equal.
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, HeaderMap, HeaderValue,
};
use hyper::{Response, StatusCode};
use shared::Front;

/// What an allowed origin may do.
#[derive(Debug)]
pub struct Cors {
    /// The methods of a request.
    pub methods: &'static str,
    /// The headers of a request.
    pub headers: &'static str,
    /// The headers of an answer that a script may read.
    pub expose: &'static str,
    /// For how long a preflight's answer may be kept, in seconds.
    pub max_age: u32,
    /// A preflight's answer.
    pub status: StatusCode,
}

/// The API's. "API Gateway automatically sends a response to preflight OPTIONS requests, even if there isn't an OPTIONS
/// route", and drops what the functions say of it (HTTP API developer guide, "Configure CORS").
pub const API: Cors = Cors {
    methods: "DELETE,GET,PATCH,POST",
    headers: "authorization,content-type,idempotency-key,if-match",
    expose: "etag,location,retry-after,www-authenticate",
    max_age: 3600,
    status: StatusCode::NO_CONTENT,
};

/// The export's, of its function URL.
pub const EXPORT: Cors = Cors {
    methods: "GET",
    headers: "authorization",
    expose: "content-disposition,retry-after,www-authenticate",
    max_age: 3600,
    status: StatusCode::OK,
};

impl Cors {
    pub(super) fn of(front: Front) -> Option<&'static Self> {
        match front {
            Front::Api => Some(&API),
            Front::StreamingUrl => Some(&EXPORT),
            // The form's functions answer for themselves, and no browser sends what Clerk signs.
            Front::FormApi | Front::Url => None,
        }
    }

    /// The answer to a preflight: without a word to any other origin.
    pub(super) fn preflight(&self, origin: Option<&HeaderValue>) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::default());
        *response.status_mut() = self.status;
        if let Some(origin) = origin {
            let headers = response.headers_mut();
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(self.methods));
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(self.headers));
            headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(self.max_age));
        }
        response
    }

    /// Puts these settings in the place of what a function has said.
    pub(super) fn decorate(&self, headers: &mut HeaderMap, origin: Option<&HeaderValue>) {
        for name in [
            ACCESS_CONTROL_ALLOW_ORIGIN,
            ACCESS_CONTROL_ALLOW_METHODS,
            ACCESS_CONTROL_ALLOW_HEADERS,
            ACCESS_CONTROL_EXPOSE_HEADERS,
            ACCESS_CONTROL_MAX_AGE,
        ] {
            headers.remove(name);
        }
        if let Some(origin) = origin {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(self.expose));
        }
    }
}
