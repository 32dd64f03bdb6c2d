//! What can go wrong at the database, and the one place where a constraint's name becomes an answer.
use std::error::Error;

use deadpool_postgres::{HookError, PoolError};
use thiserror::Error;
use tokio_postgres::error::SqlState;

use super::connect::BYPASSES;
use crate::error::{ApiError, FieldError, chain};

/// A failed statement, by what the caller can do about it.
#[derive(Debug, Error)]
pub enum DbError {
    /// No connection, or it broke: the database is down, restarting or full.
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

    /// Whether the gate knows the caller too little: provisioning may help.
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
/// What is left is a refusal or a mistake of ours, such as a column read as the wrong type.
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
        if let Some(answer) = refusal.constraint().and_then(for_constraint) {
            return answer;
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

/// The answer to a broken constraint. One that is not here cannot be broken by a request: that is our fault,
/// and a 500.
fn for_constraint(name: &str) -> Option<ApiError> {
    let field =
        |field: &str, message: &str| ApiError::invalid(vec![FieldError::new(field, "invalid", message)]);
    Some(match name {
        "leads_status_transition" => {
            ApiError::conflict("illegal_transition", "The lead's status cannot change like that.")
        }
        "leads_lost_reason_check" => {
            field("lost_reason", "a lost lead needs a reason, and only a lost lead has one")
        }
        "leads_contact_check" => field("email", "give a name, an e-mail, a phone number or a company"),
        "leads_assigned_to_fkey" => field("assigned_to", "is not a member of this dealership"),
        "leads_vehicle_fkey" => field("vehicle_id", "is not a vehicle of this dealership"),
        "form_mappings_pkey" => ApiError::conflict(
            "settings_changed",
            "Somebody else changed the mapping just now: get it and try again.",
        ),
        "form_mappings_names_check" => field("form.mapping.fields", "must have at most 100 names"),
        "conversations_author_check" => {
            field("author_kind", "an inbound message is the customer's, an outbound one is not")
        }
        "conversations_note_check" => field("direction", "a note is outbound"),
        // It was merged a moment ago: the answer is the same as if it had been before.
        "conversations_lead_merged" => ApiError::not_found(),
        "leads_if_match" => ApiError::precondition_failed(),
        "leads_merged" | "merges_merged_key" => {
            ApiError::conflict("lead_merged", "One of the two leads has been merged into another already.")
        }
        "merges_undone" => ApiError::conflict("merge_undone", "This merge has been undone already."),
        "merges_survivor_gone" => ApiError::conflict(
            "survivor_gone",
            "The lead that survived has itself been merged or deleted since: undo that merge first.",
        ),
        _ => return None,
    })
}
