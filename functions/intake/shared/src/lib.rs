//! What a public form sends, what is understood by it, and how it becomes a lead. Whoever reads a submission, at once,
//! after a release or later from what was stored, reads it here, and so reads the same.
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

/// Files an [`Enquiry`] ($2), read under a mapping's version ($3), of a submission ($1): on an open lead of the same
/// contact or on a new one. What is filed already stays as it is.
pub const FILE_SUBMISSION_SQL: &str = "select scope.file_submission($1, $2, $3)";
