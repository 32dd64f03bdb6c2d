//! `GET /`: what answers here, its version, and where to go next.
use shared::files::{File, Files};

/// The one answer: to anybody, without a database and without a setting.
pub const FILES: Files = Files {
    name: "index",
    summary: "Show the name, the version and where to go next",
    files: &[File {
        path: "/",
        content_type: "application/json",
        body: concat!(
            r#"{"name":"Norvalt","version":""#,
            env!("CARGO_PKG_VERSION"),
            r#"","links":{"health":"/health","openapi":"/openapi.json","docs":"/docs"}}"#
        )
        .as_bytes(),
        is_gzip: false,
    }],
};
