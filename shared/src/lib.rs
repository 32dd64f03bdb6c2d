//! What functions of two areas need. It names no table, constraint or filter of an area.
//!
//! | module | holds |
//! |---|---|
//! | [`app`] | the life of a sandbox and of a request |
//! | [`ctx`] | what a handler works with: the request, and the ways to the database |
//! | [`answer`], [`download`], [`error`] | what it returns: success, a file, or a problem |
//! | [`docs`] | what a route says of itself for the API's document |
//! | [`route`] | what an endpoint is called, where it is and whom it answers |
//! | [`endpoint`] | a function as another program links it in |
//! | [`job`] | what runs by the clock instead of on a request |
//! | [`auth`] | Clerk's session tokens, roles and permissions |
//! | [`db`] | the scoped database: nobody else names the driver |
//! | [`fields`] | bodies and queries into types, every invalid field at once |
//! | [`files`] | what answers with files that were built into it |
//! | [`page`] | keyset pages and their cursors |
//! | [`outbound`] | requests to others |
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
