//! The tests of the functions of `functions/tenancy`: a file for each.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, unreachable_pub, reason = "this is a test")]

extern crate tests as support;

automod::dir!("it/tenancy");
