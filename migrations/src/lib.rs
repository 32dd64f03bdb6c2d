//! The migrations and their runner: `cargo dev migrate`, a deployment and the tests.
mod passwords;

use refinery::error::Kind;
use shared::chain::chain;
use shared::db::{OwnerError, connect_as_owner};
use thiserror::Error;
use tokio::task::JoinHandle;

pub use passwords::{password_in, set_passwords};

mod embedded {
    refinery::embed_migrations!(".");
}

/// Guards against two runners at once; refinery takes no lock of its own. The number is arbitrary, but must
/// stay: an older runner has to wait for a newer one.
const LOCK: i64 = 0x4e6f_7276_616c_7400;

/// The server checks every second whether the runner still exists, so a runner that ended keeps no lock for longer.
const STAY_WITH_THE_CLIENT: &str = "set client_connection_check_interval = '1s'";

/// Why the migrations did not run.
#[derive(Debug, Error)]
pub enum MigrateError {
    /// The owner cannot connect.
    #[error(transparent)]
    Owner(#[from] OwnerError),
    /// The database cannot be reached or refused a statement.
    #[error("the database refused")]
    Database(#[from] tokio_postgres::Error),
    /// A migration failed; those before it stay applied.
    #[error("a migration failed")]
    Migration(#[from] refinery::Error),
}

impl MigrateError {
    /// The error and its causes in one line, for the log and for the operator.
    #[must_use]
    pub fn chain(&self) -> String {
        chain(self)
    }
}

/// Ends the connection when the runner is dropped.
struct Closing(JoinHandle<()>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Brings the database at `url` up to date, each migration in a transaction of its own, and returns the names
/// of those it applied. Safe to run twice and by two at once: the second waits and finds nothing to do.
/// Unknown newer migrations are no error: a release that was rolled back to meets them.
/// The user needs to own the database and have CREATEROLE; superuser is not needed.
///
/// # Errors
/// [`MigrateError`].
pub async fn migrate(url: &str) -> Result<Vec<String>, MigrateError> {
    let (mut client, connection) = connect_as_owner(url).await?;
    let _closing = Closing(connection);
    client.batch_execute(STAY_WITH_THE_CLIENT).await?;
    client.execute("select pg_advisory_lock($1)", &[&LOCK]).await?;
    let runner = embedded::migrations::runner();
    let newest = runner.get_migrations().iter().map(refinery::Migration::version).max().unwrap_or_default();
    let report = runner.run_async(&mut client).await;
    client.execute("select pg_advisory_unlock($1)", &[&LOCK]).await?;
    match report {
        Ok(report) => Ok(report.applied_migrations().iter().map(ToString::to_string).collect()),
        Err(error) => match error.kind() {
            Kind::MissingVersion(applied) if applied.version() > newest => Ok(Vec::new()),
            _ => Err(error.into()),
        },
    }
}
