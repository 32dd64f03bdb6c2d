//! Submissions of public forms: what a form sends, what it means, and how it becomes a lead. Every function that reads
//! a submission reads it here.
mod constraints;
mod enquiry;
mod form;
mod origin;
mod settings;
mod submission;
mod token;

pub use constraints::CONSTRAINTS;
pub use enquiry::{Enquiry, MappedTo, Mapping};
pub use form::{Form, Honeypot};
pub use origin::origin_of;
pub use settings::{FormSettings, MappingVersion};
pub use submission::{SUBMISSION_COLUMNS, Submission, Verdict};
pub use token::{RenderToken, TokenKeys};

/// Files an [`Enquiry`] ($2) that was read from a submission ($1) under a version of the mapping ($3): on an open lead
/// of the same contact, or on a new lead. A filed submission stays as it is.
pub const FILE_SUBMISSION_SQL: &str = "select scope.file_submission($1, $2, $3)";
