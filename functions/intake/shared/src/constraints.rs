//! The constraints of a form's settings that a request can break, and their answers.
use shared::ApiError;
use shared::error::{Constraint, FieldError};

/// For [`Route::constraints`](shared::Route).
pub const CONSTRAINTS: &[Constraint] = &[
    ("form_mappings_pkey", || {
        ApiError::conflict(
            "settings_changed",
            "Another administrator changed the mapping just now: get it and try again.",
        )
    }),
    ("form_mappings_names_check", || {
        let error = FieldError::new("form.mapping.fields", "invalid", "must have at most 100 names");
        ApiError::invalid(vec![error])
    }),
];
