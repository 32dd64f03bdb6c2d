//! Clerk's organizations, people and memberships, and the one way in which they change our rows. A webhook and the
//! Backend API both ask for a [`Change`].
mod apply;
mod event;

pub use apply::STATEMENTS;
pub use event::{Change, Event, Malformed, Membership, Object, Organization, User, without_nul};
