//! The words of `DESIGN`: types that two or more functions use, mirrored by the CHECKs of `migrations/`.
mod contact;
mod conversation;
mod dealership;
mod field_names;
mod lead;
mod lead_filters;

pub use contact::{Email, Phone, phone_prefix};
pub use conversation::{AuthorKind, Channel, Conversation, Direction};
pub use dealership::{Dealership, FormSettings, MappingVersion};
pub use field_names::{LeadField, lead_field, split_full_name};
pub use lead::{Attribution, Consent, LastMessage, Lead, Source, Status};
pub use lead_filters::{LeadConditions, LeadFilters, Whose};
