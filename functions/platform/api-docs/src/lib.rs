//! `GET /openapi.json`: the API's document. `GET /docs`: the document as a page to read and try out, with Swagger UI.
use shared::files::{File, Files};

/// The answers. Anyone may get them; they need no database and no setting. `tests/it/routes.rs` holds the paths equal
/// to those of `template.yaml`.
pub const FILES: Files = Files {
    name: "api-docs",
    summary: "Show the API's document, and a page to read and try it",
    files: &[
        File {
            path: "/openapi.json",
            content_type: "application/json",
            body: include_bytes!("../openapi.json"),
            is_gzip: false,
        },
        File {
            path: "/docs",
            content_type: "text/html; charset=utf-8",
            body: include_bytes!("../viewer/docs.html"),
            is_gzip: false,
        },
        File {
            path: "/docs/start.js",
            content_type: "text/javascript; charset=utf-8",
            body: include_bytes!("../viewer/start.js"),
            is_gzip: false,
        },
        File {
            path: "/docs/swagger-ui-bundle.js",
            content_type: "text/javascript; charset=utf-8",
            body: include_bytes!("../viewer/swagger-ui-bundle.js.gz"),
            is_gzip: true,
        },
        File {
            path: "/docs/swagger-ui.css",
            content_type: "text/css; charset=utf-8",
            body: include_bytes!("../viewer/swagger-ui.css.gz"),
            is_gzip: true,
        },
    ],
};
