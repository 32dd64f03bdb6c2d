//! Clerk's messages as Svix delivers them.
pub mod history;
pub mod model;
pub mod reconciliation;

use dev::svix;

use super::{Event, WEBHOOK_SECRET};

/// Clerk's sample of each kind of message, in the order in which they happened.
pub const SAMPLES: [&str; 9] = [
    "clerk-webhook/user.created",
    "clerk-webhook/user.updated",
    "clerk-webhook/organization.created",
    "clerk-webhook/organizationMembership.created",
    "clerk-webhook/organization.updated",
    "clerk-webhook/organizationMembership.updated",
    "clerk-webhook/organizationMembership.deleted",
    "clerk-webhook/user.deleted",
    "clerk-webhook/organization.deleted",
];

/// The event with the headers of a message that Clerk sends now.
pub fn delivery(id: &str, event: Event) -> Event {
    let headers = svix::headers(WEBHOOK_SECRET, id, event.text().as_bytes()).unwrap();
    headers.iter().fold(event, |event, (name, value)| event.header(name, value))
}
