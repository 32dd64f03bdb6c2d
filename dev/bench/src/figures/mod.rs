//! One file per row of the report, or per few rows that are measured together.
pub(crate) mod cold_start;
pub(crate) mod cost;
pub(crate) mod footprint;
pub(crate) mod growth;
pub(crate) mod one_sandbox;
pub(crate) mod pooled;
pub(crate) mod round_trips;
pub(crate) mod throughput;
pub(crate) mod verification;
