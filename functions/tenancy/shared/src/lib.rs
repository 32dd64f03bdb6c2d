//! Dealerships and their people: what two or more functions need of them.
pub mod clerk;
mod dealership;

pub use dealership::{DEALERSHIP_COLUMNS, Dealership};
