//! Leads and their conversations: what two or more functions need of them, mirrored by the CHECKs of `migrations/`.
// The macros name this crate as the functions do.
extern crate self as leads;

mod constraints;
mod contact;
mod conversation;
mod field_names;
mod lead;
mod lead_filters;
pub mod spreadsheet;

pub use constraints::CONSTRAINTS;
pub use contact::{Email, Phone, phone_prefix};
pub use conversation::{AuthorKind, Channel, Conversation, Direction};
pub use field_names::{LeadField, lead_field, split_full_name};
pub use lead::{Attribution, Consent, LastMessage, Lead, Source, Status};
pub use lead_filters::{LeadConditions, LeadFilters, Whose};
