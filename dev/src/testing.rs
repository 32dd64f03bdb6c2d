//! PostgreSQL for tests: one server per test process, one database per test, copied from a template.
use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, anyhow};
use migrations::{migrate, set_passwords};
use shared::db::{Login, connect_as_owner};

use crate::postgres::{Binaries, Cluster, Options};
use crate::seed::seed;

/// The password of every user here; the server listens on this machine only and lives as long as its test process.
const PASSWORD: &str = "test";

/// A database with the schema, to copy.
const TEMPLATE: &str = "norvalt_template";

/// A database with the schema and the sample data, to copy.
const SEEDED_TEMPLATE: &str = "norvalt_template_seeded";

/// Counts the servers of this process, for their folders.
static SERVERS: AtomicU32 = AtomicU32::new(0);

/// The server that all tests of this process share, started by the first that asks.
pub async fn test_cluster() -> Result<&'static TestCluster> {
    static SHARED: OnceLock<Result<TestCluster, String>> = OnceLock::new();
    // Tests have a runtime each: nothing here may belong to the runtime of the first.
    let shared = tokio::task::spawn_blocking(|| {
        SHARED.get_or_init(|| TestCluster::start_blocking().map_err(|error| format!("{error:#}")))
    });
    shared.await?.as_ref().map_err(|error| anyhow!("{error}"))
}

/// A server with a template of the schema and one with the sample data in it.
#[derive(Debug)]
pub struct TestCluster {
    cluster: Cluster,
    databases: AtomicU32,
}

/// A database of one test's own.
#[derive(Clone, Debug)]
pub struct TestDatabase {
    /// Its name.
    pub name: String,
    /// Where its owner reaches it, a superuser whom no policy binds.
    pub owner_url: String,
    port: u16,
}

impl TestDatabase {
    /// The port of this machine that its server listens on.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Where a login user reaches it.
    #[must_use]
    pub fn url(&self, login: Login) -> String {
        let (user, port, name) = (login.user(), self.port, &self.name);
        format!("postgres://{user}:{PASSWORD}@127.0.0.1:{port}/{name}?sslmode=disable")
    }
}

impl TestCluster {
    /// A server for one test alone, which may [`kill`](Cluster::kill) it.
    pub async fn start() -> Result<Self> {
        tokio::task::spawn_blocking(Self::start_blocking).await?
    }

    fn start_blocking() -> Result<Self> {
        let all = crate::target().join("test-postgres");
        remove_leftovers(&all);
        let binaries = Binaries::find_or_fetch(&crate::target().join("tools"))?;
        let folder = all.join(format!("{}-{}", std::process::id(), SERVERS.fetch_add(1, Ordering::Relaxed)));
        let options = Options { port: None, owner_password: PASSWORD.to_owned(), ephemeral: true };
        let cluster = Cluster::start(&binaries, &folder, options)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(make_templates(&cluster)).context("make the templates of the tests' databases")?;
        Ok(Self { cluster, databases: AtomicU32::new(0) })
    }

    /// The server.
    #[must_use]
    pub const fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// A database with the schema and no rows.
    pub async fn new_database(&self) -> Result<TestDatabase> {
        let database = self.name_database();
        self.cluster.create_database_from_template(&database.name, TEMPLATE).await?;
        Ok(database)
    }

    /// A database with the sample data, which [`seed`] put in when the server started.
    pub async fn seeded_database(&self) -> Result<TestDatabase> {
        let database = self.name_database();
        self.cluster.create_database_from_template(&database.name, SEEDED_TEMPLATE).await?;
        Ok(database)
    }

    /// A database without even the schema.
    pub async fn empty_database(&self) -> Result<TestDatabase> {
        let database = self.name_database();
        self.cluster.create_database(&database.name).await?;
        Ok(database)
    }

    fn name_database(&self) -> TestDatabase {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        TestDatabase { owner_url: self.cluster.owner_url(&name), port: self.cluster.port(), name }
    }
}

async fn make_templates(cluster: &Cluster) -> Result<()> {
    cluster.create_database(TEMPLATE).await?;
    let url = cluster.owner_url(TEMPLATE);
    migrate(&url).await?;
    let (mut owner, connection) = connect_as_owner(&url).await?;
    set_passwords(&mut owner, &Login::ALL.map(|login| (login, PASSWORD.to_owned()))).await?;
    // A database cannot be copied while a connection to it is open.
    drop(owner);
    connection.await?;

    cluster.create_database_from_template(SEEDED_TEMPLATE, TEMPLATE).await?;
    let (mut owner, connection) = connect_as_owner(&cluster.owner_url(SEEDED_TEMPLATE)).await?;
    seed(&mut owner).await?;
    drop(owner);
    connection.await?;
    Ok(())
}

/// Removes what killed servers of dead test processes left.
fn remove_leftovers(all: &PathBuf) {
    for folder in fs::read_dir(all).into_iter().flatten().flatten() {
        let name = folder.file_name();
        let pid = name.to_str().and_then(|name| name.split('-').next()?.parse().ok());
        if pid.is_some_and(|pid| !crate::process::is_alive(pid)) {
            // Another test process may be removing it, too.
            let _ = fs::remove_dir_all(folder.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn count_leads(url: &str) -> Result<i64, Option<String>> {
        let (client, _) = connect_as_owner(url).await.map_err(|error| Some(format!("{error:?}")))?;
        let row = client.query_one("select count(*) from leads", &[]).await;
        row.map(|row| row.get(0)).map_err(|error| error.code().map(|code| code.code().to_owned()))
    }

    async fn a_login_reaches_a_migrated_database_of_its_own() {
        let database = test_cluster().await.unwrap().new_database().await.unwrap();
        assert_eq!(count_leads(&database.url(Login::Reader)).await, Ok(0));
        assert_eq!(count_leads(&database.url(Login::Intake)).await, Err(Some("42501".to_owned())));
        let wrong = database.url(Login::Reader).replace(PASSWORD, "wrong");
        assert!(count_leads(&wrong).await.is_err(), "passwords count here, too");
    }

    // Two, because tests run at once and each in a runtime of its own.
    #[tokio::test]
    async fn one_test_has_its_own_database() {
        a_login_reaches_a_migrated_database_of_its_own().await;
    }

    #[tokio::test]
    async fn another_test_has_its_own_database() {
        a_login_reaches_a_migrated_database_of_its_own().await;
    }

    #[tokio::test]
    async fn a_killed_server_starts_again_with_its_data() {
        let own = TestCluster::start().await.unwrap();
        let database = own.new_database().await.unwrap();
        own.cluster().kill().unwrap();
        assert!(count_leads(&database.owner_url).await.is_err());
        own.cluster().restart().unwrap();
        assert_eq!(count_leads(&database.owner_url).await, Ok(0));
    }

    #[tokio::test]
    async fn the_sample_data_goes_in_once() {
        let database = test_cluster().await.unwrap().new_database().await.unwrap();
        let (mut owner, _) = connect_as_owner(&database.owner_url).await.unwrap();
        for _ in 0..2 {
            let seeded = seed(&mut owner).await.unwrap();
            assert_eq!((seeded.leads, seeded.conversations), (20, 31));
        }
        let ten_each = "select slug, count(*), min(right(l.id::text, 2)), max(right(l.id::text, 2))
                          from leads l join dealerships d on d.id = l.dealership_id group by slug order by slug";
        let rows = owner.query(ten_each, &[]).await.unwrap();
        let rows: Vec<(&str, i64, &str, &str)> =
            rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect();
        assert_eq!(rows, [("tesla-oslo", 10, "01", "10"), ("vw-bergen", 10, "11", "20")]);
    }
}
