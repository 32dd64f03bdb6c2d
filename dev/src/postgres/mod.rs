//! PostgreSQL of our own: the machine's programs or fetched ones, never the machine's server.
mod binaries;
mod cluster;
mod process;

pub use binaries::Binaries;
pub use cluster::{Cluster, Options};
pub(crate) use cluster::{free_port, last_lines};
pub(crate) use process::is_alive;
