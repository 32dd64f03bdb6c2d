//! Health.
fn main() {}
