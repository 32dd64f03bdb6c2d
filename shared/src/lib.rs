//! What two or more functions need.
pub mod auth;
pub mod clock;
