//! The database. A handler reaches it through a [`Scope`] and in no other way.
mod columns;
mod connect;
mod error;
#[cfg(feature = "migrate")]
mod migrate;
mod param;
#[cfg(feature = "migrate")]
mod passwords;
mod scope;
mod visit;

pub use columns::Columns;
pub use connect::{Database, Login};
pub use error::DbError;
#[cfg(feature = "migrate")]
pub use migrate::{MigrateError, connect_as_owner, migrate};
pub use param::{Param, Typed};
#[cfg(feature = "migrate")]
pub use passwords::{password_in, set_passwords};
pub(crate) use scope::ping_outside_any_scope;
pub use scope::{Open, Scope, Statement};
pub use tokio_postgres::Row;
pub(crate) use visit::Visit;
