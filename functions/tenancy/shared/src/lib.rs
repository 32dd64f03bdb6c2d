//! Dealerships and their people: what several functions need.
pub mod clerk;
mod dealership;

pub use dealership::{DEALERSHIP_COLUMNS, Dealership};
