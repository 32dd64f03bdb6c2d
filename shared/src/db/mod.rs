//! The database. A handler reaches it through a [`Scope`] only.
mod columns;
mod connect;
mod error;
mod gate;
#[cfg(feature = "owner")]
mod owner;
mod param;
mod scope;
mod stats;
mod transaction;

pub use columns::Columns;
pub use connect::{Database, Login, patched_release};
pub use error::DbError;
pub(crate) use gate::Gate;
#[cfg(feature = "owner")]
pub use owner::{OwnerError, connect_as_owner, parse_url};
pub use param::{Param, Typed};
pub(crate) use scope::Access;
pub use scope::Scope;
pub(crate) use stats::DbStats;
pub use tokio_postgres::{Error as RowError, Row};
pub(crate) use transaction::ping_outside_any_scope;
pub use transaction::{NamedSql, Statement, Transaction};
