//! The database. A handler reaches it through a [`Scope`] and in no other way.
mod columns;
mod connect;
mod error;
#[cfg(feature = "owner")]
mod owner;
mod param;
mod scope;
mod visit;

pub use columns::Columns;
pub use connect::{Database, Login};
pub use error::DbError;
#[cfg(feature = "owner")]
pub use owner::{OwnerError, connect_as_owner, parse_url};
pub use param::{Param, Typed};
pub(crate) use scope::ping_outside_any_scope;
pub use scope::{Open, Scope, Statement};
pub use tokio_postgres::{Error as RowError, Row};
pub(crate) use visit::Visit;
