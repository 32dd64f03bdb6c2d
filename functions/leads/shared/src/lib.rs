//! Leads and their conversations: what several functions need. The CHECKs of `migrations/` have the same rules.
mod constraints;
mod contact;
mod conversation;
mod field_names;
mod lead;
mod lead_filters;
pub mod spreadsheet;
mod texts;

pub use constraints::CONSTRAINTS;
pub use contact::{Email, Phone, phone_prefix};
pub use conversation::{AuthorKind, CONVERSATION_COLUMNS, Channel, Conversation, Direction};
pub use field_names::{LeadField, lead_field, split_full_name};
pub use lead::{Attribution, Consent, JOIN_LAST_MESSAGE, LEAD_COLUMNS, LastMessage, Lead, Source, Status};
pub use lead_filters::{LEAD_CONDITIONS, LeadConditions, LeadFilters, PlainList};
pub use texts::{
    Company, FirstName, LastName, LostReason, MAX_ATTRIBUTION_CHARS, MAX_COMPANY_CHARS, MAX_MESSAGE_CHARS,
    MAX_NAME_CHARS, MAX_TEXT_VERSION_CHARS, MAX_VEHICLE_CHARS, Message, VehicleOfInterest,
};
