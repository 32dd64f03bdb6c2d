//! An error and its causes in one line, for the log.
use std::error::Error;
use std::fmt::Write;

use tokio_postgres::error::DbError;

/// The error and its causes, separated by colons. Of a refusal by PostgreSQL, the text has no data of a customer.
#[must_use]
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = describe(error);
    let mut source = error.source();
    while let Some(error) = source {
        let _ = write!(text, ": {}", describe(error));
        source = error.source();
    }
    text
}

/// PostgreSQL quotes invalid input in the message (class 22) and in the DETAIL. The DETAIL also quotes a failing row
/// where no row-level security is in force. Both are a customer's data, so neither is logged.
fn describe(error: &(dyn Error + 'static)) -> String {
    let Some(refusal) = error.downcast_ref::<DbError>() else { return error.to_string() };
    let code = refusal.code().code();
    let message = if code.starts_with("22") { "invalid input" } else { refusal.message() };
    format!("SQLSTATE {code}, {message}")
}
