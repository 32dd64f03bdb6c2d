//! PostgreSQL of our own: the machine's programs or fetched ones, never the machine's server.
mod binaries;
mod cluster;
mod process;

pub use binaries::Binaries;
pub use cluster::free_port;
pub(crate) use cluster::last_lines;
pub use cluster::{Cluster, Options};
