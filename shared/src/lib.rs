//! What functions of two areas need. It names no table, constraint or filter of an area.
//!
//! | module | holds |
//! |---|---|
//! | [`app`] | the life of a sandbox and of a request |
//! | [`ctx`] | a handler's request, and its ways to the database |
//! | [`answer`], [`download`], [`error`] | what a handler returns: success, a file, or a problem |
//! | [`docs`] | how a route describes itself for the API's document |
//! | [`route`] | an endpoint's name, path, callers and deployment |
//! | [`mod@endpoint`] | a function as another program links it in |
//! | [`job`] | functions that run by the clock |
//! | [`auth`] | Clerk's session tokens, roles and permissions |
//! | [`db`] | the scoped database: no other crate names the driver |
//! | [`fields`] | bodies and queries into types, every invalid field at once |
//! | [`files`] | functions that answer with files built into them |
//! | [`page`] | keyset pages and their cursors |
//! | [`outbound`] | requests to other services |
//! | [`schema`] | the JSON schemas of types |
//! | [`chain`] | an error and its causes in one line |
//! | [`config`] | settings and secrets |
//! | [`telemetry`] | the log and the metrics in it |
//! | [`clock`] | the time |
// The macros name this crate as the functions do.
extern crate self as shared;

pub mod answer;
pub mod app;
pub mod auth;
pub mod chain;
pub mod clock;
pub mod config;
pub mod ctx;
pub mod db;
pub mod docs;
pub mod download;
pub mod endpoint;
pub mod error;
pub mod fields;
pub mod files;
pub mod job;
pub mod outbound;
pub mod page;
pub mod route;
pub mod schema;
mod secrets;
pub mod telemetry;

pub use answer::Answer;
pub use app::{App, run, run_streaming};
pub use auth::Permission;
pub use config::StartupError;
pub use ctx::Ctx;
pub use db::Login;
pub use docs::Operation;
pub use download::Download;
pub use endpoint::Endpoint;
pub use error::ApiError;
pub use job::{Job, Schedule};
pub use lambda_http::http::header;
pub use lambda_http::{Error, service_fn};
pub use route::{Caller, Front, Route};

/// glibc's gives the end of the heap back after each large answer and faults it in again for the next.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
