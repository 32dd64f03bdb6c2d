//! What Clerk says of organizations, people and memberships, and the one way in which it changes our rows: whether a
//! webhook tells it or the Backend API is asked, it is a [`Change`].
mod apply;
mod event;

pub use apply::STATEMENTS;
pub use event::{Change, Event, Malformed, Membership, Object, Organization, User, without_nul};
