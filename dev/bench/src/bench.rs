//! The bench that every figure is measured on: the database, Clerk's keys, the binaries, and the effort.
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dev::clerk::Clerk;
use dev::postgres::Cluster;
use dev::progress::Step;
use tokio::net::TcpListener;

use crate::callers::Callers;
use crate::database::{self, Size};
use crate::environment::{self, Statements};
use crate::event::{self, Events, FUNCTIONS};
use crate::load::{Load, closed_loop};
use crate::sandbox::Sandbox;

/// How long, how often and on how much data is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// Rounds of each contender; the contenders take turns.
    pub(crate) rounds: usize,
    pub(crate) round: Duration,
    /// The time before the first round of a contender.
    pub(crate) warm_up: Duration,
    /// Requests, where a figure takes a number of them and no time.
    pub(crate) requests: u64,
    /// Cold starts of each contender.
    pub(crate) starts: usize,
    /// From the smallest to the largest. A figure of one size is of the second.
    pub(crate) sizes: &'static [Size],
    /// The profile that the functions are built with, which names its folder, too.
    pub(crate) profile: &'static str,
    /// The functions that are built.
    pub(crate) functions: fn() -> Vec<&'static str>,
    /// Whether a peer that is not there is compiled.
    pub(crate) compiles_peers: bool,
}

const TEN_THOUSAND: Size = Size { name: "bench_10k", leads: 10_000, dealerships: 2 };
const A_MILLION: Size = Size { name: "bench_1m", leads: 1_000_000, dealerships: 200 };
const TEN_MILLION: Size = Size { name: "bench_10m", leads: 10_000_000, dealerships: 2_000 };
const TINY: Size = Size { name: "bench_tiny", leads: 10_000, dealerships: 2 };
const SMALL: Size = Size { name: "bench_small", leads: 20_000, dealerships: 4 };

/// The effort of the report.
pub(crate) const FULL: Effort = Effort {
    rounds: 5,
    round: Duration::from_secs(6),
    warm_up: Duration::from_secs(2),
    requests: 200,
    starts: 15,
    sizes: &[TEN_THOUSAND, A_MILLION],
    profile: "release",
    functions: || FUNCTIONS.to_vec(),
    compiles_peers: true,
};

/// The same, and ten million leads.
pub(crate) const BIG: Effort = Effort { sizes: &[TEN_THOUSAND, A_MILLION, TEN_MILLION], ..FULL };

/// A check within a minute that everything runs. Its figures mean nothing.
pub(crate) const QUICK: Effort = Effort {
    rounds: 2,
    round: Duration::from_millis(500),
    warm_up: Duration::from_millis(200),
    requests: 10,
    starts: 2,
    sizes: &[TINY, SMALL],
    profile: "ci",
    functions: || FUNCTIONS.to_vec(),
    compiles_peers: false,
};

/// For counting instructions, which more rows would not change; in the profile that the checks build anyway.
pub(crate) const INSTRUCTIONS: Effort = Effort { functions: event::counted, ..QUICK };

/// A running database, and Clerk's stand-in, which signs the callers' tokens.
pub(crate) struct Bench {
    pub(crate) effort: Effort,
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) clerk: Arc<Clerk>,
    pub(crate) issuer: String,
    /// The callers of [`Bench::size`].
    pub(crate) callers: Callers,
    /// The folder of logs, peers and the cluster.
    pub(crate) folder: PathBuf,
}

impl Bench {
    /// Builds the functions, starts and fills the database, and serves Clerk's keys.
    pub(crate) async fn set_up(effort: Effort) -> Result<Self> {
        ensure!(cfg!(target_os = "linux"), "CPU time and memory are read from /proc: run it on Linux");
        let folder = dev::target().join("bench");
        std::fs::create_dir_all(folder.join("logs"))?;
        let step = Step::begin_talkative("building the functions");
        tokio::task::spawn_blocking(move || build(effort)).await??;
        step.done("functions built");
        let step = Step::begin("PostgreSQL");
        let cluster = database::start(&folder.join("postgres")).await?;
        step.done(&format!("PostgreSQL {}", cluster.binaries().version()));
        for size in effort.sizes {
            database::fill(&cluster, *size).await?;
        }
        let clerk = Arc::new(Clerk::generate()?);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let issuer = format!("http://{}", listener.local_addr()?);
        tokio::spawn(Arc::clone(&clerk).serve(listener));
        let callers = Callers::new(&clerk, &issuer, of_one_size(effort).dealerships.unsigned_abs());
        Ok(Self { effort, cluster, clerk, issuer, callers, folder })
    }

    /// The size on which everything but growth is measured.
    pub(crate) fn size(&self) -> Size {
        of_one_size(self.effort)
    }

    pub(crate) fn binary(&self, function: &str) -> PathBuf {
        dev::target().join(self.effort.profile).join(function)
    }

    /// PostgreSQL's first process, from which its others descend.
    pub(crate) fn postmaster(&self) -> Result<u32> {
        let lock = std::fs::read_to_string(self.folder.join("postgres/data/postmaster.pid"))?;
        lock.lines()
            .next()
            .and_then(|pid| pid.parse().ok())
            .context("PostgreSQL has no process in its lock file")
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.folder.join("logs")
    }

    /// A sandbox of a function on the database of [`Bench::size`].
    pub(crate) async fn sandbox(&self, function: &str) -> Result<Sandbox> {
        self.sandbox_at(function, self.size(), self.cluster.port()).await
    }

    /// The same, run by a tool and with the database at a port of this machine.
    pub(crate) async fn sandbox_under(&self, tool: &[&Path], function: &str, port: u16) -> Result<Sandbox> {
        let name = self.size().name;
        let settings = environment::functions(&self.issuer, port, name, Statements::Prepared);
        let binary = self.binary(function);
        let command = [tool, &[binary.as_path()]].concat();
        Sandbox::start(function, &command, &settings, &self.logs()).await
    }

    /// A sandbox of a function with its database at a port of this machine.
    pub(crate) async fn sandbox_at(&self, function: &str, size: Size, port: u16) -> Result<Sandbox> {
        self.start(function, environment::functions(&self.issuer, port, size.name, Statements::Prepared))
            .await
    }

    /// A sandbox of a function that prepares no statement, as behind a pooler, on the database of [`Bench::size`].
    pub(crate) async fn unprepared_sandbox(&self, function: &str, port: u16) -> Result<Sandbox> {
        let name = self.size().name;
        self.start(function, environment::functions(&self.issuer, port, name, Statements::Unprepared)).await
    }

    async fn start(&self, function: &str, settings: Vec<(String, String)>) -> Result<Sandbox> {
        let (binary, logs) = (self.binary(function), self.logs());
        let started = Sandbox::start(function, &[&binary], &settings, &logs).await;
        started.with_context(|| format!("start {function}"))
    }
}

fn of_one_size(effort: Effort) -> Size {
    effort.sizes[1]
}

/// Gives each sandbox one event after the other.
pub(crate) async fn drive(sandboxes: &mut [Sandbox], events: &Events, lasting: Duration) -> Result<Load> {
    closed_loop(sandboxes, lasting, async |sandbox, number| Ok(sandbox.invoke(events(number)).await?.took))
        .await
}

/// Builds the functions that are driven, with the cargo that runs us.
fn build(effort: Effort) -> Result<()> {
    let cargo = dev::environment::variable("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--profile", effort.profile, "--target-dir"]).arg(dev::target());
    build.args((effort.functions)().into_iter().flat_map(|function| ["--package", function]));
    build.current_dir(dev::workspace());
    ensure!(
        build.status().context("start cargo")?.success(),
        "the functions do not build; cargo says why above"
    );
    Ok(())
}
