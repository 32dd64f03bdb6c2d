//! What two or more functions need.
//!
//! | module | holds |
//! |---|---|
//! | [`app`] | the life of a sandbox and of a request |
//! | [`http`] | what a handler works with: [`Ctx`], [`Answer`], [`Route`] |
//! | [`auth`] | Clerk's session tokens, roles and permissions |
//! | [`db`] | the scoped database: nobody else names the driver |
//! | [`domain`] | leads, conversations, e-mail addresses, phone numbers |
//! | [`fields`] | bodies and queries into types, every invalid field at once |
//! | [`page`] | keyset pages and their cursors |
//! | [`error`] | answers that are not success |
//! | [`config`] | settings and secrets |
//! | [`clock`] | the time |
// The macros name this crate as the functions do.
extern crate self as shared;

pub mod app;
pub mod auth;
pub mod clock;
pub mod config;
pub mod db;
pub mod domain;
pub mod error;
pub mod fields;
pub mod http;
pub mod page;
mod telemetry;

pub use app::App;
pub use auth::Permission;
pub use config::StartupError;
pub use db::Login;
pub use error::ApiError;
pub use http::{Answer, Caller, Ctx, Route};
pub use lambda_http::{Error, run_concurrent as run, service_fn};
