//! Connections: one pool per sandbox, logged in as one user whom the policies bind.
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{
    Connect, Hook, HookError, Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime,
};
use serde::Deserialize;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::DbError;
use crate::config::{Settings, StartupError};

/// To reach PostgreSQL and log in.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// To get a connection from the pool, opening or checking it included.
const WAIT_TIMEOUT: Duration = Duration::from_secs(4);
/// Data that stays unacknowledged for so long means a dead peer.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(5);
/// The first keepalive probe comes after so long without traffic.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
/// A connection that was idle for longer is not used: networks drop silent connections after about 350 s, and a frozen
/// sandbox does not notice.
const MAX_IDLE: Duration = Duration::from_secs(120);
/// The setting that takes the place of the host in an RDS secret. Behind RDS Proxy a user's secret names the cluster,
/// where the password is rotated, and not the proxy.
pub(super) const HOST: &str = "DATABASE_HOST";
/// The setting that says, by `true`, that a connection keeps its prepared statements. PostgreSQL's own connections do; a
/// pooler in transaction mode may hand them to another client.
const PREPARED: &str = "DATABASE_PREPARED";
/// The variable with the number of requests that share one sandbox; Managed Instances set it.
const CONCURRENCY: &str = "AWS_LAMBDA_MAX_CONCURRENCY";

/// The database users, each with the narrowest grants (see `migrations/V0001__logins.sql`).
/// A function logs in as exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Login {
    /// Reads one dealership's rows.
    Reader,
    /// Reads and changes one dealership's rows.
    Writer,
    /// Applies Clerk's webhooks: dealerships, users, memberships.
    Provisioner,
    /// Stores what public forms send, and sees nothing.
    Intake,
    /// Reads what public forms sent, to file it or to read it anew.
    Parser,
}

impl Login {
    /// Every login user.
    pub const ALL: [Self; 5] = [Self::Reader, Self::Writer, Self::Provisioner, Self::Intake, Self::Parser];

    /// The user's name in PostgreSQL.
    #[must_use]
    pub fn user(self) -> &'static str {
        match self {
            Self::Reader => "norvalt_reader",
            Self::Writer => "norvalt_writer",
            Self::Provisioner => "norvalt_provisioner",
            Self::Intake => "norvalt_intake",
            Self::Parser => "norvalt_parser",
        }
    }

    /// The setting that holds the user's connection URL.
    #[must_use]
    pub fn setting(self) -> &'static str {
        match self {
            Self::Reader => "DATABASE_URL_READER",
            Self::Writer => "DATABASE_URL_WRITER",
            Self::Provisioner => "DATABASE_URL_PROVISIONER",
            Self::Intake => "DATABASE_URL_INTAKE",
            Self::Parser => "DATABASE_URL_PARSER",
        }
    }
}

/// The pool of one sandbox. A connection is opened when it is first needed, and closed after a failure. Connections keep
/// prepared statements if the setting `DATABASE_PREPARED` says so.
pub struct Database {
    pool: Pool,
    prepares: bool,
}

impl Database {
    /// A pool for `login`. Reads the settings; connects to nothing yet.
    ///
    /// # Errors
    /// When the URL or the CA bundle is missing or unusable.
    pub async fn new(settings: Arc<Settings>, login: Login) -> Result<Self, StartupError> {
        let name = login.setting();
        let host = settings.optional(HOST).await?;
        let config = parse(name, &settings.required(name).await?, host.as_deref())?;
        let tls = Tls::new(&config, settings.optional("DATABASE_CA_FILE").await?)?;
        let size = settings.optional(CONCURRENCY).await?.and_then(|size| size.parse().ok()).unwrap_or(1);
        let prepares = settings.optional(PREPARED).await?.is_some_and(|prepared| prepared == "true");

        let connector = Connector { name, settings, tls };
        let fast = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let pool = Pool::builder(Manager::from_connect(config, connector, fast))
            .max_size(size)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(WAIT_TIMEOUT))
            .create_timeout(Some(WAIT_TIMEOUT))
            .recycle_timeout(Some(CONNECT_TIMEOUT))
            .pre_recycle(Hook::sync_fn(|_, metrics| match metrics.last_used() {
                idle if idle > MAX_IDLE => Err(HookError::message("idle for too long")),
                _ => Ok(()),
            }))
            .post_create(Hook::async_fn(|client, _| Box::pin(refuse_bypass(client))))
            .build()
            .map_err(|error| StartupError::Invalid(name, error.to_string()))?;
        Ok(Self { pool, prepares })
    }

    /// Opens the first connection before the first request. A database that is down now may be up by then, so that
    /// failure is only logged.
    ///
    /// # Errors
    /// When the login user could bypass row-level security: such a function must not start.
    pub async fn warm(&self) -> Result<(), DbError> {
        match self.connection().await {
            Ok(_) => Ok(()),
            Err(error @ DbError::BypassesPolicies) => Err(error),
            Err(error) => {
                tracing::warn!(error = error.chain(), "no database connection yet");
                Ok(())
            }
        }
    }

    /// Closes the connections, so that the server does not have to find out by itself.
    pub fn close(&self) {
        self.pool.close();
    }

    pub(super) fn prepares(&self) -> bool {
        self.prepares
    }

    pub(super) async fn connection(&self) -> Result<Object, DbError> {
        // Lets the connection's own task notice a socket that died while the sandbox was frozen.
        tokio::task::yield_now().await;
        // The pool's own timeouts do not cover the hook.
        match timeout(WAIT_TIMEOUT, self.pool.get()).await {
            Ok(connection) => connection.map_err(DbError::from),
            Err(late) => Err(DbError::Unavailable(late.into())),
        }
    }
}

/// The form of a secret that RDS keeps. Any other secret is a URL.
#[derive(Deserialize)]
struct RdsSecret {
    username: String,
    password: String,
    host: String,
    port: u16,
    dbname: String,
}

/// Reads a URL or an RDS secret; `host` takes the place of the secret's.
pub(super) fn parse(name: &'static str, value: &str, host: Option<&str>) -> Result<Config, StartupError> {
    // The parsers' own messages may quote the password.
    let invalid = |what: &str| StartupError::Invalid(name, what.to_owned());
    let mut config = if value.trim_start().starts_with('{') {
        let secret: RdsSecret = serde_json::from_str(value).map_err(|_| invalid("not an RDS secret"))?;
        let mut config = Config::new();
        config.user(secret.username).password(secret.password).port(secret.port);
        config.host(host.unwrap_or(&secret.host));
        config.dbname(secret.dbname).ssl_mode(SslMode::Require);
        config
    } else {
        value.parse().map_err(|_| invalid("not a PostgreSQL connection URL"))?
    };
    config
        .application_name("norvalt")
        .connect_timeout(CONNECT_TIMEOUT)
        .keepalives_idle(KEEPALIVE_IDLE)
        .tcp_user_timeout(TCP_USER_TIMEOUT);
    Ok(config)
}

#[derive(Clone)]
pub(super) enum Tls {
    Off,
    Verified(MakeRustlsConnect),
}

impl Tls {
    /// TLS as the URL's `sslmode` says; the server's certificate is always verified, against `ca_file` (PEM)
    /// or the system's roots.
    pub(super) fn new(config: &Config, ca_file: Option<String>) -> Result<Self, StartupError> {
        const NAME: &str = "DATABASE_CA_FILE";
        if config.get_ssl_mode() == SslMode::Disable {
            return Ok(Self::Off);
        }
        let Some(path) = ca_file else {
            let (connector, unreadable) = MakeRustlsConnect::with_native_certs()
                .map_err(|_| StartupError::Invalid(NAME, "the system has no certificates: set it".into()))?;
            tracing::debug!(unreadable = unreadable.len(), "system certificates loaded");
            return Ok(Self::Verified(connector));
        };
        let invalid = |error: &dyn std::error::Error| StartupError::Invalid(NAME, error.to_string());
        let mut roots = rustls::RootCertStore::empty();
        use rustls::pki_types::{CertificateDer, pem::PemObject};
        for certificate in CertificateDer::pem_file_iter(&path).map_err(|error| invalid(&error))? {
            let certificate = certificate.map_err(|error| invalid(&error))?;
            roots.add(certificate).map_err(|error| invalid(&error))?;
        }
        let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        Ok(Self::Verified(MakeRustlsConnect::new(config)))
    }

    pub(super) async fn connect(
        &self,
        config: &Config,
    ) -> Result<(Client, JoinHandle<()>), tokio_postgres::Error> {
        match self {
            Self::Off => {
                let (client, connection) = config.connect(NoTls).await?;
                Ok((client, tokio::spawn(drive(connection))))
            }
            Self::Verified(connector) => {
                let (client, connection) = config.connect(connector.clone()).await?;
                Ok((client, tokio::spawn(drive(connection))))
            }
        }
    }
}

/// Runs the connection. Its error is returned to the statements that wait for it, so it is not logged here.
async fn drive(connection: impl Future<Output = Result<(), tokio_postgres::Error>>) {
    let _ = connection.await;
}

struct Connector {
    name: &'static str,
    settings: Arc<Settings>,
    tls: Tls,
}

impl Connect for Connector {
    fn connect(
        &self,
        config: &Config,
    ) -> std::pin::Pin<
        Box<dyn Future<Output = Result<(Client, JoinHandle<()>), tokio_postgres::Error>> + Send + '_>,
    > {
        let config = config.clone();
        Box::pin(async move {
            if !self.settings.is_secret(self.name) {
                return self.tls.connect(&config).await;
            }
            // The secret may have been rotated, and read again, since the pool was made.
            let known = self.settings.required(self.name).await.unwrap_or_default();
            match self.tls.connect(&self.parse(&known).await.unwrap_or(config)).await {
                Err(error) if refuses_password(&error) => {
                    tracing::warn!(setting = self.name, "password refused, reading the secret again");
                    let renewed = self.settings.refresh(self.name, &known).await.ok();
                    // If the secret is unreadable or the same, the refusal stands.
                    let Some(renewed) = renewed.filter(|value| *value != known) else { return Err(error) };
                    let Ok(config) = self.parse(&renewed).await else { return Err(error) };
                    self.tls.connect(&config).await
                }
                connected => connected,
            }
        })
    }
}

impl Connector {
    async fn parse(&self, secret: &str) -> Result<Config, StartupError> {
        let host = self.settings.optional(HOST).await?;
        parse(self.name, secret, host.as_deref())
    }
}

/// The text that deadpool passes from the hook to [`DbError`].
pub(super) const BYPASSES: &str = "the login user could bypass row-level security";

/// The first release of each major version with the row-level security fixes of 2026-11-12.
const PATCHED: [u32; 4] = [15_0020, 16_0016, 17_0012, 18_0006];

/// The first release with every known fix of row-level security, of the major version that a release belongs to; None
/// for a major version that we do not know. Both are as `server_version_num` has them: 150020 is 15.20.
#[must_use]
pub fn patched_release(version: u32) -> Option<u32> {
    PATCHED.into_iter().find(|patched| version / 10_000 == patched / 10_000)
}

/// Refuses a user whom row-level security does not bind: a superuser, one with BYPASSRLS, or an owner of a table, directly
/// or through a role.
async fn refuse_bypass(client: &Client) -> Result<(), HookError> {
    const SQL: &str = "select current_setting('server_version_num')::int,
        exists (select from pg_roles where (rolsuper or rolbypassrls) and pg_has_role(oid, 'member'))
        or exists (select from pg_class where relkind = 'r' and relrowsecurity and pg_has_role(relowner, 'member'))";
    let rows = client.query_typed(SQL, &[]).await.map_err(HookError::Backend)?;
    let [row] = rows.as_slice() else { return Err(HookError::message("no answer")) };
    let version: i32 = row.try_get(0).map_err(HookError::Backend)?;
    // Of a major version that we do not know, an older one lacks them.
    if version.unsigned_abs() < patched_release(version.unsigned_abs()).unwrap_or(PATCHED[0]) {
        tracing::warn!(version, "this PostgreSQL lacks row-level security fixes: update its minor release");
    }
    match row.try_get(1) {
        Ok(false) => Ok(()),
        Ok(true) => Err(HookError::message(BYPASSES)),
        Err(error) => Err(HookError::Backend(error)),
    }
}

fn refuses_password(error: &tokio_postgres::Error) -> bool {
    matches!(error.code(), Some(&SqlState::INVALID_PASSWORD | &SqlState::INVALID_AUTHORIZATION_SPECIFICATION))
}

#[cfg(test)]
mod tests {
    use tokio_postgres::config::Host;

    use super::*;

    #[test]
    fn another_host_takes_the_place_of_an_rds_secrets() {
        let secret = r#"{"username":"u","password":"p","host":"cluster","port":5432,"dbname":"d"}"#;
        for (host, wanted) in [(None, "cluster"), (Some("proxy"), "proxy")] {
            let config = parse("DATABASE_URL_READER", secret, host).map_err(|error| error.to_string());
            assert_eq!(config.map(|config| config.get_hosts().to_vec()), Ok(vec![Host::Tcp(wanted.into())]));
        }
    }
}
