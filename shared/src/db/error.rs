//! Errors of the database, and the one place where a constraint's name becomes an answer.
use std::error::Error;

use deadpool_postgres::{HookError, PoolError};
use thiserror::Error;
use tokio_postgres::error::SqlState;

use super::connect::BYPASSES;
use crate::chain::chain;
use crate::error::ApiError;

/// Why a statement failed, by what the caller can do about it.
#[derive(Debug, Error)]
pub enum DbError {
    /// There is no connection, or it broke: the database is down, restarting or full.
    #[error("the database cannot be reached")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The login user is one that row-level security does not bind.
    #[error("{BYPASSES}")]
    BypassesPolicies,
    /// PostgreSQL refused the statement.
    #[error("the database refused the statement")]
    Refused(#[source] tokio_postgres::Error),
}

impl DbError {
    /// The error and its causes in one line, for the log.
    #[must_use]
    pub fn chain(&self) -> String {
        chain(self)
    }

    /// Whether the gate does not know the caller yet, so that provisioning may help.
    pub(super) fn wants_provisioning(&self) -> bool {
        matches!(self, Self::Refused(error) if error.code().is_some_and(|code| code.code() == "NV001"))
    }

    /// Whether a fresh connection may succeed where this one failed.
    pub(super) fn is_broken_connection(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

impl From<tokio_postgres::Error> for DbError {
    fn from(error: tokio_postgres::Error) -> Self {
        if is_outage(&error) { Self::Unavailable(error.into()) } else { Self::Refused(error) }
    }
}

/// Whether the connection broke or the server is going down, coming up or full: SQLSTATE classes 08, 53, 57P.
/// Any other error is a refusal or a mistake of ours, such as a column read as the wrong type.
fn is_outage(error: &tokio_postgres::Error) -> bool {
    let io = error.source().is_some_and(|source| source.is::<std::io::Error>());
    let server = |code: &SqlState| ["08", "53", "57P"].iter().any(|class| code.code().starts_with(class));
    error.is_closed() || io || error.code().is_some_and(server)
}

impl From<PoolError> for DbError {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::PostCreateHook(HookError::Message(text)) if text == BYPASSES => Self::BypassesPolicies,
            error => Self::Unavailable(error.into()),
        }
    }
}

impl From<DbError> for ApiError {
    fn from(error: DbError) -> Self {
        let refusal = match &error {
            DbError::Unavailable(_) => return Self::unavailable(error),
            DbError::BypassesPolicies => return Self::internal(error),
            DbError::Refused(refusal) => refusal.as_db_error(),
        };
        let Some(refusal) = refusal else { return Self::internal(error) };
        if let Some(name) = refusal.constraint() {
            let name = name.to_owned();
            return Self::constraint(&name, error);
        }
        match refusal.code() {
            code if code.code() == "NV001" => {
                Self::forbidden("not_a_member", "You are not a member of this dealership.")
            }
            code if code.code() == "NV002" => {
                Self::forbidden("member_removed", "You were removed from this dealership.")
            }
            code if code.code() == "NV003" => Self::unauthorized(
                "Your role has changed: get a new token.",
                "superseded by a change of role",
            ),
            code if code.code() == "NV004" => {
                Self::forbidden("dealership_suspended", "This dealership is suspended.")
            }
            code if code.code() == "NV005" => Self::not_found(),
            code if code.code() == "NV006" => Self::role_forbids(),
            // Only a policy's WITH CHECK gets here: the grants cover what the handlers do.
            &SqlState::INSUFFICIENT_PRIVILEGE => {
                Self::forbidden("forbidden", "Your role does not allow this change.")
            }
            &SqlState::QUERY_CANCELED | &SqlState::LOCK_NOT_AVAILABLE | &SqlState::T_R_DEADLOCK_DETECTED => {
                Self::unavailable(error)
            }
            _ => Self::internal(error),
        }
    }
}

impl From<tokio_postgres::Error> for ApiError {
    fn from(error: tokio_postgres::Error) -> Self {
        DbError::from(error).into()
    }
}
