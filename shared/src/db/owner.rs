//! The owner's connection, which no policy binds: for migrations, seeds and tests, never for a request.
use thiserror::Error;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config};

use super::connect::{HOST, Tls, parse};
use crate::config::{Settings, StartupError};

/// Why the owner is not connected.
#[derive(Debug, Error)]
pub enum OwnerError {
    /// The connection URL or its TLS settings cannot be used.
    #[error(transparent)]
    Setting(#[from] StartupError),
    /// The database cannot be reached or refused.
    #[error("the database refused")]
    Database(#[from] tokio_postgres::Error),
}

/// Connects as the user that `url` (or an RDS secret) names, outside any scope. The connection ends with its client.
///
/// # Errors
/// When the URL is unusable or the server refuses.
pub async fn connect_as_owner(url: &str) -> Result<(Client, JoinHandle<()>), OwnerError> {
    let settings = Settings::from_env();
    let host = settings.optional(HOST).await?;
    let config = parse("DATABASE_URL_OWNER", url, host.as_deref())?;
    let tls = Tls::new(&config, settings.optional("DATABASE_CA_FILE").await?)?;
    Ok(tls.connect(&config).await?)
}

/// The connection URL, or RDS secret, that the setting `name` holds.
///
/// # Errors
/// When it is neither; the text never quotes it.
pub fn parse_url(name: &'static str, url: &str) -> Result<Config, StartupError> {
    parse(name, url, None)
}
