//! The tests of the whole: one target, so one link; every test has its own database, so they run in parallel.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, unreachable_pub, reason = "this is a test")]

mod catalog;
mod growth;
mod isolation;
mod list_leads;
mod migrations;
mod routes;
mod support;
mod telemetry;
mod tokens;
