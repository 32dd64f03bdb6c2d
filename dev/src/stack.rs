//! `cargo dev`: everything up, in order, until Ctrl-C takes it down again.
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use shared::telemetry;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::sleep;

use crate::clerk::Clerk;
use crate::gateway::Gateway;
use crate::people::{DEALERSHIPS, Dealership, MEMBERSHIPS};
use crate::postgres::{Binaries, Cluster, last_lines};
use crate::progress::{Step, seconds, warn};
use crate::state::{Lock, State, folder};
use crate::supervised::Supervised;
use crate::watch::Watch;
use crate::{database, emulator, port};

/// How long the first answer of `GET /health` may take.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(60);

/// How often the programs are looked after.
const WATCH_INTERVAL: Duration = Duration::from_millis(200);

/// How to run the stack.
#[derive(Clone, Debug, clap::Args)]
pub struct Up {
    /// The port that the functions answer on
    #[arg(long, default_value_t = 9000, value_parser = clap::value_parser!(u16).range(1..))]
    pub port: u16,
    /// Throw the local database and its secrets away and start over
    #[arg(long)]
    pub fresh: bool,
    /// Leave the sample data out
    #[arg(long)]
    pub no_seed: bool,
    /// Rebuild and start anew when a file changes
    #[arg(long)]
    pub watch: bool,
    /// Run the functions' own binaries under cargo-lambda, instead of their code in this process
    #[arg(long)]
    pub emulator: bool,
    /// Run optimized binaries, as AWS will
    #[arg(long, requires = "emulator")]
    pub release: bool,
    /// This start follows a change that --watch has seen.
    #[arg(long, hide = true)]
    pub again: bool,
}

/// What runs. Fields are dropped in their order: first who asks, then who answers.
struct Stack {
    functions: Functions,
    clerk: JoinHandle<std::io::Result<()>>,
    postgres: Arc<Cluster>,
    state: State,
}

/// What answers on the stack's port.
enum Functions {
    /// This process.
    Here(JoinHandle<std::io::Result<()>>),
    /// The emulator.
    Emulated(Supervised),
}

/// Why a stack ends.
enum End {
    Stopped,
    Rebuilt,
}

/// Runs the stack until a signal says stop. `program` is how the printed commands call us.
pub async fn up(options: &Up, program: &Path) -> Result<()> {
    let started = Instant::now();
    let mut stop = Stop::new()?;
    let _lock = Lock::take(options.port)?;
    port::check_free(options.port)?;
    let mut watch = (options.watch && !options.emulator).then(|| Watch::new(program)).transpose()?;
    let mut stack = tokio::select! {
        stack = Stack::start(options) => stack?,
        () = stop.requested() => return Ok(()),
    };
    eprintln!("{}", stack.summary(options, program, started.elapsed()));
    let ended = tokio::select! {
        ended = stack.watch() => ended.map(|()| End::Stopped),
        rebuilt = rebuilt(watch.as_mut()) => rebuilt.map(|()| End::Rebuilt),
        () = stop.requested() => Ok(End::Stopped),
    };
    let step = Step::begin("stopping");
    drop(stack);
    match ended? {
        End::Stopped => step.done("everything stopped"),
        End::Rebuilt => bail!(Command::new(program).args(options.again()).exec()),
    }
    Ok(())
}

/// Waits for a new program; for ever, where nothing is watched.
async fn rebuilt(watch: Option<&mut Watch>) -> Result<()> {
    match watch {
        Some(watch) => watch.rebuilt().await,
        None => std::future::pending().await,
    }
}

impl Up {
    /// The arguments of the program that takes over after a change. The data stay.
    fn again(&self) -> Vec<String> {
        let mut arguments = vec!["--watch".to_owned(), "--again".to_owned(), format!("--port={}", self.port)];
        arguments.extend(self.no_seed.then(|| "--no-seed".to_owned()));
        arguments
    }
}

impl Stack {
    async fn start(options: &Up) -> Result<Self> {
        if options.fresh {
            start_over()?;
        }
        let mut state = State::load_or_create(options.port)?;
        let postgres = start_postgres(&mut state).await?;
        migrate(&state).await?;
        if !options.no_seed {
            seed(&state).await?;
        }
        let clerk = start_clerk(&mut state).await?;
        let functions = start_functions(options, &state).await?;
        Ok(Self { functions, clerk, postgres, state })
    }

    /// Starts PostgreSQL again when it ends, and returns when something ends that cannot be helped.
    async fn watch(&mut self) -> Result<()> {
        loop {
            sleep(WATCH_INTERVAL).await;
            if self.postgres.has_ended()? {
                warn("PostgreSQL has ended; starting it again");
                let (step, postgres) = (Step::begin("PostgreSQL"), Arc::clone(&self.postgres));
                spawn_blocking(move || postgres.restart()).await??;
                step.done("PostgreSQL runs again");
            }
            self.functions.check()?;
            ensure!(!self.clerk.is_finished(), "Clerk's stand-in has ended");
        }
    }

    fn summary(&self, options: &Up, program: &Path, took: Duration) -> String {
        if options.again {
            return format!("\nReady again after {}.\n", seconds(took).trim());
        }
        let (dev, url) = (quoted(program), format!("http://127.0.0.1:{}", self.state.port));
        let get = |token: &str, path: &str| {
            format!(r#"curl -s -H "Authorization: Bearer $({dev} token {token})" '{url}{path}'"#)
        };
        let organization = |one: &Dealership| format!("{:<11} {} ({})", one.slug, one.name, staff(one));
        let lines = [
            format!("\nReady after {}.\n", seconds(took).trim()),
            format!("  URL            {url}/"),
            format!("  API to try out {url}/docs"),
            format!("  Organizations  {}", DEALERSHIPS.map(organization).join("\n                 ")),
            format!("  Functions' log {}", functions_log().display()),
            format!("  SQL            {dev} psql"),
            format!("  Settings       {dev} env"),
            format!(
                "\nLeads of Tesla Oslo, as its admin:\n  {}",
                get("--org tesla-oslo", "/api/v1/leads?limit=3")
            ),
            "\nLeads of VW Bergen, as its sales rep, who sees their own:".to_owned(),
            format!("  {}", get("--org vw-bergen --role sales_rep", "/api/v1/leads?limit=3")),
            "\nCtrl-C stops everything.".to_owned(),
        ];
        lines.join("\n")
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if let Functions::Here(server) = &self.functions {
            server.abort();
        }
        self.clerk.abort();
    }
}

/// Everything goes but the lock, which we hold.
fn start_over() -> Result<()> {
    for entry in fs::read_dir(folder())? {
        let path = entry?.path();
        match path.file_name().is_some_and(|name| name == "lock") {
            true => continue,
            false if path.is_dir() => fs::remove_dir_all(&path),
            false => fs::remove_file(&path),
        }
        .with_context(|| format!("remove {}", path.display()))?;
    }
    Ok(())
}

async fn start_postgres(state: &mut State) -> Result<Arc<Cluster>> {
    let step = Step::begin("PostgreSQL");
    let binaries = spawn_blocking(|| Binaries::find_or_fetch(&database::tools())).await??;
    let (version, warning) = (binaries.version(), binaries.warning());
    let cluster = database::start(binaries, state).await?;
    step.done(&format!("PostgreSQL {version}"));
    warning.as_deref().into_iter().for_each(warn);
    Ok(cluster)
}

async fn migrate(state: &State) -> Result<()> {
    let step = Step::begin("migrations");
    let passwords = database::local_passwords(state);
    let applied = database::bring_up_to_date(&state.owner_url(), &passwords).await?;
    step.done(&match applied.len() {
        0 => "schema up to date".to_owned(),
        1 => "1 migration applied".to_owned(),
        many => format!("{many} migrations applied"),
    });
    Ok(())
}

async fn seed(state: &State) -> Result<()> {
    let step = Step::begin("sample data");
    let seeded = database::fill(state).await?;
    step.done(&format!("{} leads, {} conversations", seeded.leads, seeded.conversations));
    Ok(())
}

async fn start_clerk(state: &mut State) -> Result<JoinHandle<std::io::Result<()>>> {
    let step = Step::begin("Clerk's stand-in");
    let clerk = Arc::new(Clerk::load_or_create(&folder())?);
    let listener = match TcpListener::bind(("127.0.0.1", state.clerk_port.unwrap_or_default())).await {
        Ok(listener) => listener,
        // Someone took the port of the last run: tokens made then are worth nothing now.
        Err(_) => TcpListener::bind(("127.0.0.1", 0)).await.context("find a port for Clerk's stand-in")?,
    };
    state.clerk_port = Some(listener.local_addr()?.port());
    state.save()?;
    step.done("Clerk's stand-in");
    Ok(tokio::spawn(clerk.serve(listener)))
}

async fn start_functions(options: &Up, state: &State) -> Result<Functions> {
    let mut functions = match options.emulator {
        true => Functions::Emulated(emulator::start(options, state).await?),
        false => Functions::Here(serve(options, state).await?),
    };
    let step = Step::begin("functions");
    wait_until_healthy(&mut functions, options.port).await?;
    step.done(&format!("functions answer on port {}", options.port));
    Ok(functions)
}

/// Serves every function of the registry from this process.
async fn serve(options: &Up, state: &State) -> Result<JoinHandle<std::io::Result<()>>> {
    let log = File::options()
        .create(true)
        .append(options.again)
        .truncate(!options.again)
        .write(true)
        .open(functions_log());
    telemetry::init_to(Mutex::new(log.context("create the functions' log")?));
    let settings = state.functions_environment().into_iter().map(|(name, value)| (name.to_owned(), value));
    let gateway = Arc::new(Gateway::start(settings.collect()).await?);
    let listener = TcpListener::bind(("127.0.0.1", options.port)).await;
    let listener = listener.with_context(|| format!("listen on port {}", options.port))?;
    Ok(tokio::spawn(gateway.serve(listener)))
}

impl Functions {
    /// Fails when nothing answers any more.
    fn check(&mut self) -> Result<()> {
        match self {
            Self::Here(server) => ensure!(!server.is_finished(), "the gateway has ended"),
            Self::Emulated(emulator) => ensure!(
                emulator.ended()?.is_none(),
                "cargo-lambda has ended; {} says why:\n{}",
                functions_log().display(),
                last_lines(&functions_log())
            ),
        }
        Ok(())
    }
}

async fn wait_until_healthy(functions: &mut Functions, port: u16) -> Result<()> {
    // A proxy, if the machine has one, knows nothing of our ports.
    let client = reqwest::Client::builder().no_proxy().build()?;
    let (url, deadline) = (format!("http://127.0.0.1:{port}/health"), Instant::now() + HEALTH_TIMEOUT);
    loop {
        let answer = client.get(&url).timeout(HEALTH_TIMEOUT).send().await;
        let status = match answer {
            Ok(answer) if answer.status().is_success() => return Ok(()),
            Ok(answer) => format!("GET /health answers {}", answer.status()),
            Err(_) => "GET /health does not answer".to_owned(),
        };
        functions.check()?;
        if Instant::now() > deadline {
            bail!("{status}; {} says why:\n{}", functions_log().display(), last_lines(&functions_log()));
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// Where the functions' lines go.
pub(crate) fn functions_log() -> PathBuf {
    folder().join("functions.log")
}

/// Who works there: `Kari admin, Ola manager`.
fn staff(dealership: &Dealership) -> String {
    let members = MEMBERSHIPS.iter().filter(|member| member.dealership == dealership);
    let members = members.map(|member| format!("{} {}", member.person.first_name, member.role));
    members.collect::<Vec<_>>().join(", ")
}

/// The path as a shell reads it.
fn quoted(path: &Path) -> String {
    let path = path.display().to_string();
    match path.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+".contains(c)) {
        true => path,
        false => format!("'{}'", path.replace('\'', r"'\''")),
    }
}

/// The signals that ask us to stop.
pub(crate) struct Stop {
    signals: [Signal; 3],
}

impl Stop {
    pub(crate) fn new() -> Result<Self> {
        let [interrupt, terminate, hangup] =
            [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        Ok(Self { signals: [signal(interrupt)?, signal(terminate)?, signal(hangup)?] })
    }

    pub(crate) async fn requested(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.signals;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
