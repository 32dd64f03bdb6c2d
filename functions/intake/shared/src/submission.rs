//! A submission, as the dealership's people see it.
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::Enquiry;
use shared::db::Row;
use shared::text_enum;

text_enum! {
    /// The verdict on a submission.
    Verdict {
        /// It is on a lead, or will be in a moment.
        Accepted = "accepted",
        /// A person has to review it.
        Held = "held",
        /// It looks like spam.
        Spam = "spam",
    }
}

/// A submission as every route answers it. Times are UTC.
#[derive(Debug, JsonSchema, Serialize)]
#[allow(missing_docs, reason = "the names are the documentation")]
pub struct Submission {
    pub id: Uuid,
    pub received_at: Timestamp,
    #[schemars(with = "Verdict")]
    pub verdict: String,
    /// The codes of the reasons why it is held or spam.
    pub reasons: Vec<String>,
    /// What was read from it, in the columns of a lead; null until then.
    #[schemars(with = "Option<Enquiry>")]
    pub enquiry: Option<Value>,
    /// The version of the dealership's mapping under which it was read; 0 without a mapping.
    pub mapping_version: Option<i32>,
    pub lead_id: Option<Uuid>,
    /// Whether it created that lead; otherwise it was added to the lead.
    pub made_lead: bool,
    pub filed_at: Option<Timestamp>,
    pub reviewed_by: Option<Uuid>,
    pub reviewed_at: Option<Timestamp>,
    /// The web site that it came from, as the browser says.
    pub origin: Option<String>,
}

/// The columns of [`Submission`], from `submissions`.
pub const SUBMISSION_COLUMNS: &str = "\
    id, received_at, verdict, reasons, enquiry, mapping_version, lead_id, made_lead, filed_at, reviewed_by, \
    reviewed_at, headers->>'origin' as origin";

impl TryFrom<&Row> for Submission {
    type Error = shared::db::RowError;

    fn try_from(row: &Row) -> Result<Self, Self::Error> {
        Ok(Self {
            id: row.try_get("id")?,
            received_at: row.try_get("received_at")?,
            verdict: row.try_get("verdict")?,
            reasons: row.try_get("reasons")?,
            enquiry: row.try_get("enquiry")?,
            mapping_version: row.try_get("mapping_version")?,
            lead_id: row.try_get("lead_id")?,
            made_lead: row.try_get("made_lead")?,
            filed_at: row.try_get("filed_at")?,
            reviewed_by: row.try_get("reviewed_by")?,
            reviewed_at: row.try_get("reviewed_at")?,
            origin: row.try_get("origin")?,
        })
    }
}
