//! The tests of the whole. Those of a function are in the folder of its area, which is a target of its own.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, unreachable_pub, reason = "this is a test")]

extern crate tests as support;

automod::dir!("it");
