//! The migration runner: `cargo dev migrate`, a deployment and the tests.
use thiserror::Error;
use tokio::task::JoinHandle;
use tokio_postgres::Client;

use super::connect::Tls;
use crate::config::Settings;

mod embedded {
    refinery::embed_migrations!("../migrations");
}

/// Guards against two runners at once; refinery takes no lock of its own. The number is arbitrary, but must
/// stay: an older runner has to wait for a newer one.
const LOCK: i64 = 0x4e6f_7276_616c_7400;

/// Why the migrations did not run.
#[derive(Debug, Error)]
pub enum MigrateError {
    /// The URL is none, or its TLS settings cannot be used.
    #[error("the connection URL cannot be used: {0}")]
    Url(String),
    /// The database cannot be reached or refused a statement.
    #[error("the database refused")]
    Database(#[from] tokio_postgres::Error),
    /// A migration failed; those before it stay applied.
    #[error("a migration failed")]
    Migration(#[from] refinery::Error),
}

/// Connects as whoever `url` says, outside any scope: for migrations, seeds and tests, never for a request.
///
/// # Errors
/// When the URL is unusable or the server refuses.
pub async fn connect_as_owner(url: &str) -> Result<(Client, JoinHandle<()>), MigrateError> {
    let config: tokio_postgres::Config =
        url.parse().map_err(|_| MigrateError::Url("not a PostgreSQL URL".into()))?;
    let settings = Settings::from_env();
    let ca_file =
        settings.optional("DATABASE_CA_FILE").await.map_err(|error| MigrateError::Url(error.to_string()))?;
    let tls = Tls::new(&config, ca_file).map_err(|error| MigrateError::Url(error.to_string()))?;
    Ok(tls.connect(&config).await?)
}

/// Brings the database at `url` up to date, each migration in a transaction of its own, and returns the names
/// of those it applied. Safe to run twice and by two at once: the second waits and finds nothing to do.
/// The user needs to own the database and have CREATEROLE; superuser is not needed.
///
/// # Errors
/// [`MigrateError`].
pub async fn migrate(url: &str) -> Result<Vec<String>, MigrateError> {
    let (mut client, _connection) = connect_as_owner(url).await?;
    client.execute("select pg_advisory_lock($1)", &[&LOCK]).await?;
    let report = embedded::migrations::runner().run_async(&mut client).await;
    client.execute("select pg_advisory_unlock($1)", &[&LOCK]).await?;
    Ok(report?.applied_migrations().iter().map(ToString::to_string).collect())
}
