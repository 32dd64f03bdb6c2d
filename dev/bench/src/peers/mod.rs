//! The list of leads as other frameworks make it, each a process on the same database, logged in as the same user.
//!
//! Each is fetched from its registry into the benchmark's own folder. The report says why one was skipped.
pub(crate) mod fastapi;
mod fastify;
mod postgraphile;
mod postrust;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use dev::postgres::free_port;
use dev::progress::Step;
use dev::state::ORIGIN;
use dev::supervised::{Program, Supervised};
use serde_json::Value;
use shared::db::{Login, connect_as_owner};

use crate::bench::Bench;
use crate::database;
use crate::http::{Client, Target};

/// The longest that a server may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Connections to the database that each peer may open, as in published comparisons.
const POOL_SIZE: &str = "20";

/// A server that answers.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    /// How it differs from the others.
    pub(crate) note: &'static str,
    pub(crate) target: Target,
    server: Supervised,
}

/// How to start one.
struct Plan {
    name: &'static str,
    note: &'static str,
    target: Target,
    /// The page's rows in its answer, as a JSON pointer.
    rows: &'static str,
    folder: PathBuf,
    command: Vec<PathBuf>,
    environment: Vec<(String, String)>,
}

impl Peer {
    /// The process that started it.
    pub(crate) fn pid(&self) -> u32 {
        self.server.supervisor()
    }

    async fn start(plan: Plan, bench: &Bench) -> Result<Self> {
        let Plan { name, note, target, rows, folder, command, environment } = plan;
        let log = bench.logs().join(format!("{name}.log"));
        let variables = environment.iter().map(|(name, value)| format!("{name}={value}"));
        let mut program = Program::new("env", &folder).args(variables).args(command);
        program.signal = "KILL";
        program.log = Some(fs::File::create(&log)?);
        let mut server = program.start()?;
        let started = Instant::now();
        while tokio::net::TcpStream::connect(("127.0.0.1", target.port)).await.is_err() {
            ensure!(server.ended()?.is_none(), "it does not start; target/bench/logs/{name}.log says why");
            ensure!(
                started.elapsed() < START_TIMEOUT,
                "it takes too long to start; see target/bench/logs/{name}.log"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let peer = Self { name, note, target, server };
        peer.check(rows, bench).await.with_context(|| format!("see target/bench/logs/{name}.log"))?;
        Ok(peer)
    }

    /// Checks that its page has the rows of list-leads' page, and that it refuses a forged token.
    async fn check(&self, rows: &str, bench: &Bench) -> Result<()> {
        let (answer, _) = Client::connect(&self.target).await?.ask(bench.callers.token(0)).await?;
        let mut sandbox = bench.sandbox("list-leads").await?;
        let event = crate::event::list("", &bench.callers)?(0);
        let ours: Value = serde_json::from_slice(&sandbox.invoke(event).await?.body)?;
        let ours: Value = serde_json::from_str(ours["body"].as_str().unwrap_or_default())?;
        let theirs: Value = serde_json::from_slice(&answer)?;
        let theirs = ids(theirs.pointer(rows));
        ensure!(
            theirs == ids(ours.pointer("/items")) && !theirs.is_empty(),
            "its page has other rows than ours: {}",
            String::from_utf8_lossy(&answer[..answer.len().min(500)])
        );
        let forged = bench.callers.token(0).rsplit_once('.').map(|(signed, _)| format!("{signed}.AAAA"));
        let refused = Client::connect(&self.target).await?.ask(&forged.unwrap_or_default()).await;
        let page: Value =
            refused.map(|(body, _)| serde_json::from_slice(&body)).unwrap_or(Ok(Value::Null))?;
        ensure!(ids(page.pointer(rows)).is_empty(), "it accepts a forged token");
        Ok(())
    }
}

fn ids(rows: Option<&Value>) -> BTreeSet<String> {
    let rows = rows.and_then(Value::as_array).into_iter().flatten();
    rows.filter_map(|row| Some(row["id"].as_str()?.to_owned())).collect()
}

/// Fetches the peer if it is not there.
type MakePlan = fn(&Bench) -> Result<Plan>;

/// In the order of the report.
const PLANS: [(&str, MakePlan); 4] = [
    ("postrust", postrust::plan),
    ("Fastify", fastify::plan),
    ("FastAPI", fastapi::plan),
    ("PostGraphile", postgraphile::plan),
];

/// Fetches the peers that are not there, before anything is measured. [`start_all`] reports what cannot be fetched.
pub(crate) fn fetch_all(bench: &Bench) {
    for (_, plan) in PLANS {
        let _ = plan(bench);
    }
}

/// The peers that run, and the reasons why the others do not.
pub(crate) async fn start_all(bench: &Bench) -> Result<(Vec<Peer>, Vec<String>)> {
    let (owner, _) = connect_as_owner(&bench.cluster.owner_url(bench.size().name)).await?;
    owner.batch_execute(postrust::SCHEMA).await.context("make postrust's schema")?;
    let (mut running, mut skipped) = (Vec::new(), Vec::new());
    for (name, plan) in PLANS {
        let step = Step::begin(name);
        let started = async { Peer::start(plan(bench)?, bench).await }.await;
        match started {
            Ok(peer) => {
                step.done(peer.name);
                running.push(peer);
            }
            Err(error) => {
                dev::progress::warn(&format!("{name} is skipped: {error:#}"));
                skipped.push(format!("{name} ({error:#})"));
            }
        }
    }
    Ok((running, skipped))
}

/// The settings that every peer's handler reads.
fn environment(bench: &Bench, port: u16) -> Vec<(String, String)> {
    let settings = [
        ("PORT", port.to_string()),
        ("DATABASE_URL", database::url(Login::Reader, bench.cluster.port(), bench.size().name)),
        ("POOL_SIZE", POOL_SIZE.to_owned()),
        ("JWKS_URL", format!("{}/.well-known/jwks.json", bench.issuer)),
        ("ISSUER", bench.issuer.clone()),
        ("AUTHORIZED_PARTY", ORIGIN.to_owned()),
        ("NODE_ENV", "production".to_owned()),
    ];
    settings.map(|(name, value)| (name.to_owned(), value)).into()
}

/// A folder of the peer's own in which `fetch` has been run once.
fn fetched(bench: &Bench, name: &str, fetch: impl FnOnce(&Path) -> Vec<Command>) -> Result<PathBuf> {
    let folder = bench.folder.join("peers").join(name);
    let complete = folder.join("complete");
    if complete.exists() {
        return Ok(folder);
    }
    eprintln!("  ↓ {name} from its registry");
    // An earlier attempt may have stopped halfway.
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder)?;
    for mut command in fetch(&folder) {
        command.current_dir(&folder).stdin(Stdio::null()).stdout(std::io::stderr());
        let status = command.status().with_context(|| format!("start {:?}", command.get_program()))?;
        ensure!(status.success(), "{:?} could not fetch it", command.get_program());
    }
    fs::write(complete, "")?;
    Ok(folder)
}

/// `npm install` of these.
fn npm(folder: &Path, packages: &[&str]) -> Command {
    let mut npm = Command::new("npm");
    npm.args(["install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"]).arg(folder);
    npm.args(packages);
    npm
}

/// Puts one of our sources beside what it imports.
fn put(folder: &Path, name: &str, source: &str) -> Result<PathBuf> {
    let file = folder.join(name);
    fs::write(&file, source).with_context(|| format!("write {}", file.display()))?;
    Ok(file)
}

fn get(port: u16, path: &str) -> Target {
    Target { port, method: hyper::Method::GET, path: path.to_owned(), body: String::new() }
}
