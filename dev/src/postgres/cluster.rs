//! A server of our own on a port of its own, which cannot outlive us.
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use shared::db::connect_as_owner;

use super::Binaries;
use super::process::{NOBODY, is_root, unprivileged};
use crate::process::{children, is_alive, kill};
use crate::supervised::{Program, Supervised};

/// The superuser of the cluster and the owner of everything in it.
const OWNER: &str = "norvalt_owner";

/// After a crash the server first replays its log, which may take a while on a slow disk.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How often a start is tried: a port may be taken at the last moment, a killed server's processes may still be ending.
const START_ATTEMPTS: u32 = 5;

/// Every function has connections of its own.
const SETTINGS: [&str; 4] =
    ["listen_addresses=127.0.0.1", "unix_socket_directories=", "timezone=UTC", "max_connections=300"];

/// A cluster that is deleted after use need not survive a power cut, and serves every test at once. Each message in its
/// log starts with the database that it is about.
const EPHEMERAL: [&str; 7] = [
    "fsync=off",
    "full_page_writes=off",
    "synchronous_commit=off",
    "wal_level=minimal",
    "max_wal_senders=0",
    "shared_buffers=64MB",
    "log_line_prefix=%d %m [%p] ",
];

/// How a cluster is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The port of its last run, kept if it is still free.
    pub port: Option<u16>,
    /// The owner's password, set when the cluster is made: letters and digits.
    pub owner_password: String,
    /// Fast instead of safe, and deleted when it stops.
    pub ephemeral: bool,
}

/// A running PostgreSQL; dropping it, or the end of this process, stops it.
#[derive(Debug)]
pub struct Cluster {
    binaries: Binaries,
    folder: PathBuf,
    options: Options,
    port: u16,
    server: Mutex<Option<Supervised>>,
}

impl Cluster {
    /// Starts the cluster kept in `folder`, and makes it first when there is none.
    pub fn start(binaries: &Binaries, folder: &Path, options: Options) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
        let (binaries, folder, server) = (binaries.clone(), folder.to_owned(), Mutex::default());
        let port = options.port.filter(|port| is_free(*port)).map_or_else(free_port, Ok)?;
        let mut cluster = Self { binaries, folder, options, port, server };
        cluster.make_data_folder()?;
        for attempt in 1.. {
            match cluster.launch() {
                Ok(()) => break,
                Err(error) if attempt == START_ATTEMPTS => return Err(error),
                Err(_) if is_free(cluster.port) => sleep(Duration::from_millis(100)),
                Err(_) => cluster.port = free_port()?,
            }
        }
        Ok(cluster)
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The programs that run the cluster.
    #[must_use]
    pub const fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    /// The server's version as it says it itself: `150018`.
    #[must_use]
    pub const fn server_version_num(&self) -> u32 {
        self.binaries.version_num()
    }

    /// The file that the server logs to.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// Where a user reaches a database of the cluster.
    #[must_use]
    pub fn url(&self, user: &str, password: &str, database: &str) -> String {
        format!("postgres://{user}:{password}@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    /// Where the owner, who is superuser here, reaches a database of the cluster.
    #[must_use]
    pub fn owner_url(&self, database: &str) -> String {
        self.url(OWNER, &self.options.owner_password, database)
    }

    /// Makes an empty database, unless it is there.
    pub async fn create_database(&self, name: &str) -> Result<()> {
        self.create("select format('create database %I', $1::text) where not exists (select from pg_database where datname = $1)", &[&name])
            .await
    }

    /// Makes a database as a copy of another one, to which no client may be connected.
    pub async fn create_database_from_template(&self, name: &str, template: &str) -> Result<()> {
        self.create(
            "select format('create database %I template %I', $1::text, $2::text)",
            &[&name, &template],
        )
        .await
    }

    /// Kills the server and all its processes at once, as a machine that goes down does.
    pub fn kill(&self) -> Result<()> {
        let mut server = self.server();
        let Some(postmaster) = server.as_ref().and_then(|server| self.postmaster(server)) else {
            bail!("PostgreSQL is not running");
        };
        let mut pids = vec![postmaster];
        pids.extend(children(postmaster));
        kill("-KILL", &pids);
        if let Some(mut killed) = server.take() {
            killed.wait()?;
        }
        Ok(())
    }

    /// Starts the server on the same port again, after a kill or a crash; one that still runs is killed first.
    pub fn restart(&self) -> Result<()> {
        if !self.has_ended()? {
            self.kill()?;
        }
        for _ in 1..START_ATTEMPTS {
            if self.launch().is_ok() {
                return Ok(());
            }
            sleep(Duration::from_millis(100));
        }
        self.launch()
    }

    /// Whether the server has ended, by itself or by another's hand.
    pub fn has_ended(&self) -> Result<bool> {
        match self.server().as_mut() {
            Some(server) => Ok(server.ended()?.is_some()),
            None => Ok(true),
        }
    }

    /// The quoting is the server's: no database name ever becomes SQL by our own hand.
    async fn create(
        &self,
        statement: &str,
        names: &[&(dyn tokio_postgres::types::ToSql + Sync)],
    ) -> Result<()> {
        let (client, _) = connect_as_owner(&self.owner_url("postgres")).await?;
        for row in client.query(statement, names).await? {
            client.batch_execute(row.get(0)).await.context("create a database")?;
        }
        Ok(())
    }

    fn server(&self) -> MutexGuard<'_, Option<Supervised>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Made aside and moved when it is whole, so that an interrupted `initdb` leaves nothing half-made.
    fn make_data_folder(&self) -> Result<()> {
        if self.data().is_dir() {
            return self.check_data_version();
        }
        let new = self.folder.join("data.new");
        let _ = fs::remove_dir_all(&new);
        fs::create_dir(&new).with_context(|| format!("create {}", new.display()))?;
        fs::set_permissions(&new, fs::Permissions::from_mode(0o700))?;
        if is_root(&new) {
            chown(&new, Some(NOBODY), Some(NOBODY)).context("give PostgreSQL its folder")?;
        }
        self.initialize(&new)?;
        fs::rename(&new, self.data()).context("put PostgreSQL's new folder in place")
    }

    fn check_data_version(&self) -> Result<()> {
        let version =
            fs::read_to_string(self.data().join("PG_VERSION")).context("read the cluster's version")?;
        let (made, here) = (version.trim(), self.binaries.major());
        ensure!(
            made == here.to_string(),
            "{} was made by PostgreSQL {made} and this machine's is {here}: `cargo dev --fresh` starts over, \
             NORVALT_POSTGRES_BIN names another PostgreSQL",
            self.data().display()
        );
        Ok(())
    }

    /// Text sorts by code point everywhere alike; not every libc has that locale, hence the second choices.
    fn initialize(&self, data: &Path) -> Result<()> {
        let builtin = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"];
        let first = self.initdb(data, &["--locale=C.UTF-8"]);
        let second = first.or_else(|error| match self.binaries.major() {
            17.. => self.initdb(data, &builtin),
            _ => Err(error),
        });
        second.or_else(|error| self.initdb(data, &["--locale=C"]).map_err(|_| error))
    }

    fn initdb(&self, data: &Path, locale: &[&str]) -> Result<()> {
        let password = self.folder.join("password");
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&password)?;
        file.write_all(self.options.owner_password.as_bytes())?;
        let mut initdb = Command::new("env");
        initdb
            .args(unprivileged(is_root(&self.folder))?)
            .arg(self.binaries.program("initdb"))
            .arg("-D")
            .arg(data);
        initdb.args(["-U", OWNER, "-E", "UTF8", "--auth=scram-sha-256", "--no-sync"]).args(locale);
        let mut pwfile = OsString::from("--pwfile=");
        pwfile.push(&password);
        let output = initdb.arg(pwfile).current_dir(&self.folder).stdin(Stdio::null()).output();
        fs::remove_file(&password)?;
        let output = output.context("start initdb")?;
        ensure!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(())
    }

    /// Starts the server and waits until it takes connections.
    fn launch(&self) -> Result<()> {
        let mut server = self.program()?.start()?;
        let deadline = Instant::now() + START_TIMEOUT;
        while !self.is_ready(&server) {
            if server.ended()?.is_some() {
                bail!(
                    "PostgreSQL does not start; {} says why:\n{}",
                    self.log().display(),
                    last_lines(&self.log())
                );
            }
            ensure!(
                Instant::now() < deadline,
                "PostgreSQL takes too long to start; see {}",
                self.log().display()
            );
            sleep(Duration::from_millis(10));
        }
        *self.server() = Some(server);
        Ok(())
    }

    fn program(&self) -> Result<Program> {
        let mut program = Program::new("env", &self.folder).args(unprivileged(is_root(&self.folder))?);
        program = program.args([
            self.binaries.program("postgres").into_os_string(),
            "-D".into(),
            self.data().into(),
        ]);
        program = program.args(["-p".to_owned(), self.port.to_string()]);
        let mut settings = SETTINGS.to_vec();
        if self.options.ephemeral {
            settings.extend(EPHEMERAL);
            program.remove = Some(self.folder.clone());
        }
        program = program.args(settings.into_iter().flat_map(|setting| ["-c", setting]));
        // A fast shutdown: it ends the connections instead of waiting for them.
        program.signal = "INT";
        let log = File::options().create(true).append(true).open(self.log());
        program.log = Some(log.with_context(|| format!("open {}", self.log().display()))?);
        Ok(program)
    }

    /// The server writes its state into the eighth line of its lock file.
    fn is_ready(&self, server: &Supervised) -> bool {
        let lock = fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
        lock.lines().nth(7).is_some_and(|state| state.starts_with("ready"))
            && self.postmaster(server).is_some()
    }

    /// The server's process; what a killed predecessor left in the lock file does not count.
    fn postmaster(&self, server: &Supervised) -> Option<u32> {
        let lock = fs::read_to_string(self.data().join("postmaster.pid")).ok()?;
        let pid = lock.lines().next()?.parse().ok()?;
        (is_alive(pid) && children(server.supervisor()).contains(&pid)).then_some(pid)
    }
}

/// The end of a log: where the reason stands.
pub(crate) fn last_lines(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().rev().take(8).collect();
    lines.into_iter().rev().map(|line| format!("    {line}\n")).collect()
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

/// A port of this machine that no program listens on.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("find a free port")?;
    Ok(listener.local_addr()?.port())
}
