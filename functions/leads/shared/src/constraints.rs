//! The constraints of leads, conversations and merges that a request can break, and their answers.
use shared::ApiError;
use shared::error::{Constraint, FieldError};

/// For [`Route::constraints`](shared::Route).
pub const CONSTRAINTS: &[Constraint] = &[
    ("leads_status_transition", || {
        ApiError::conflict("illegal_transition", "The lead's status cannot change like that.")
    }),
    ("leads_lost_reason_check", || {
        field("lost_reason", "a lost lead needs a reason, and only a lost lead has one")
    }),
    ("leads_contact_check", || field("email", "give a name, an e-mail, a phone number or a company")),
    ("leads_assigned_to_fkey", || field("assigned_to", "is not a member of this dealership")),
    ("leads_vehicle_fkey", || field("vehicle_id", "is not a vehicle of this dealership")),
    ("leads_if_match", ApiError::precondition_failed),
    ("leads_merged", lead_merged),
    ("merges_merged_key", lead_merged),
    ("merges_undone", || ApiError::conflict("merge_undone", "This merge has been undone already.")),
    ("merges_survivor_gone", || {
        ApiError::conflict(
            "survivor_gone",
            "The lead that survived has itself been merged or deleted since: undo that merge first.",
        )
    }),
    ("conversations_author_check", || {
        field("author_kind", "an inbound message is the customer's, an outbound one is not")
    }),
    ("conversations_note_check", || field("direction", "a note is outbound")),
    // The lead was merged a moment ago: the answer is that of a hidden lead.
    ("conversations_lead_merged", ApiError::not_found),
];

fn lead_merged() -> ApiError {
    ApiError::conflict("lead_merged", "One of the two leads has been merged into another already.")
}

fn field(field: &str, message: &str) -> ApiError {
    ApiError::invalid(vec![FieldError::new(field, "invalid", message)])
}
