//! The tests of the whole.
mod list_leads;
mod support;
mod tokens;
