//! The tests of the whole: one target, so one link; every test has its own database, so they run in parallel.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, unreachable_pub, reason = "this is a test")]

mod bootstrap;
mod catalog;
mod clerk_reconcile;
mod clerk_webhook;
mod conventions;
mod convergence;
mod create_conversation;
mod create_lead;
mod delete_lead;
mod export_leads;
mod flushes;
mod form_webhook;
mod get_lead;
mod growth;
mod health;
mod import_leads;
mod isolation;
mod list_conversations;
mod list_duplicates;
mod list_leads;
mod list_submissions;
mod me;
mod merge_lead;
mod migrations;
mod outage;
mod parse_submissions;
mod patch_lead;
mod readme;
mod reject_submission;
mod release_submission;
mod routes;
mod support;
mod telemetry;
mod tokens;
mod undo_merge;
