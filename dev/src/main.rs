//! `cargo dev`: the whole product on one machine.
#![expect(clippy::print_stdout, reason = "what a command was asked for goes to standard output")]
use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use dev::clerk_event::{self, ClerkEvent};
use dev::database::{self, bring_up_to_date, local_passwords, reach};
use dev::environment::variable;
use dev::postgres::Binaries;
use dev::replay::{ReplayForm, replay};
use dev::sam_local::{NotHere, SamLocal, sam_local};
use dev::sql::{self, SqlOf};
use dev::stack::{self, Up};
use dev::state::{DATABASE, Lock, State};
use dev::sync_clerk::{SyncClerk, sync};
use dev::token::{TokenOf, mint};
use dev::{logins, progress, stacks, tables};
use shared::db::Login;
use tokio::signal::unix::{SignalKind, signal};

/// How we end where the machine lacks what a command takes; EX_UNAVAILABLE of sysexits.h.
const UNAVAILABLE: u8 = 69;

/// Runs Norvalt on this machine: PostgreSQL, a stand-in for Clerk, and every function behind one port
#[derive(Parser)]
#[command(name = "cargo dev", bin_name = "cargo dev", args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    task: Option<Task>,
    #[command(flatten)]
    up: Up,
}

#[derive(Subcommand)]
enum Task {
    /// Print a session token
    Token(TokenOf),
    /// Post an event of Clerk's to the running stack, signed as Clerk signs it
    ClerkEvent(ClerkEvent),
    /// Bring organizations, people and memberships to what Clerk says, and print what differed
    ///
    /// Against the running stack and its stand-in for Clerk; with CLERK_SECRET_KEY and DATABASE_URL_PROVISIONER set,
    /// against those.
    SyncClerk(SyncClerk),
    /// Read what a dealership's form has received anew, as its mapping is now, and print what becomes another
    ///
    /// In the running stack; with DATABASE_URL_PARSER set, in that database.
    Replay(ReplayForm),
    /// Run every function as SAM does, in containers, each with its event, and compare what they answer
    ///
    /// On a database and a stand-in for Clerk of its own. What is missing is installed by apt, which takes root. Ends
    /// with 69 where no containers can be run.
    SamLocal(SamLocal),
    /// Write the stack of each area, and their place in template.yaml, as the registry has the functions
    Stacks {
        /// A trial of so many functions, into target/trial
        #[arg(long, hide = true)]
        trial: Option<usize>,
    },
    /// Measure the functions beside the database's own limit and beside their peers, and write docs/performance/
    ///
    /// A program of its own, built optimized first; what follows is for it: `cargo dev bench --help`.
    #[command(disable_help_flag = true)]
    Bench {
        /// What the benchmark is given
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Open psql on the local database
    Psql {
        /// The database user: owner, reader, writer, provisioner, intake or parser
        #[arg(long = "as", default_value = "owner", value_parser = ["owner", "reader", "writer", "provisioner", "intake", "parser"])]
        user: String,
        /// What psql is given
        #[arg(last = true)]
        arguments: Vec<OsString>,
    },
    /// Print a function's statements, to paste into psql
    Sql(SqlOf),
    /// Bring a database's schema up to date
    ///
    /// Login users whose DATABASE_URL_READER, _WRITER, _PROVISIONER, _INTAKE or _PARSER is set get the password in it.
    Migrate {
        /// Another database than the local one, as the user who owns it
        #[arg(long)]
        url: Option<String>,
    },
    /// Put the sample data into the local database
    Seed,
    /// Print the running stack's settings
    Env,
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime.context("start").and_then(|runtime| {
        // A build replaces the file we run from, and then the path is lost.
        let program = std::env::current_exe()?;
        let done = runtime.block_on(run(Arguments::parse(), &program));
        // Nobody waits for a download that a Ctrl-C has made pointless.
        runtime.shutdown_background();
        done
    });
    done.unwrap_or_else(|error| {
        eprintln!("cargo dev: {error:#}");
        if error.is::<NotHere>() { ExitCode::from(UNAVAILABLE) } else { ExitCode::FAILURE }
    })
}

async fn run(arguments: Arguments, program: &Path) -> Result<ExitCode> {
    match arguments.task {
        None => stack::up(&arguments.up, program).await?,
        Some(Task::Token(of)) => println!("{}", mint(&of)?),
        Some(Task::ClerkEvent(event)) => return post(&event).await,
        Some(Task::SyncClerk(options)) => println!("{}", sync(&options).await?),
        Some(Task::Replay(options)) => println!("{}", replay(&options).await?),
        Some(Task::SamLocal(options)) => return try_all(&options).await,
        Some(Task::Stacks { trial: None }) => {
            stacks::write(&stacks::generated()?, &dev::workspace())?;
            stacks::write(&tables::generated()?, &dev::workspace())?;
        }
        Some(Task::Stacks { trial: Some(count) }) => {
            stacks::write(&stacks::trial(count)?, &dev::target().join("trial"))?
        }
        Some(Task::Bench { arguments }) => return bench(&arguments),
        Some(Task::Psql { user, arguments }) => return psql(&user, &arguments).await,
        Some(Task::Sql(of)) => print!("{}", sql::statements(&of)?),
        Some(Task::Migrate { url: Some(url) }) => {
            report(&bring_up_to_date(&url, &logins::from_environment()?).await?)
        }
        Some(Task::Migrate { url: None }) => migrate_local().await?,
        Some(Task::Seed) => seed().await?,
        Some(Task::Env) => env()?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn post(event: &ClerkEvent) -> Result<ExitCode> {
    let delivery = clerk_event::post(event).await?;
    println!("{} {}\n{}", delivery.id, delivery.status, delivery.body);
    Ok(if delivery.status.is_success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn try_all(options: &SamLocal) -> Result<ExitCode> {
    let tried = sam_local(options).await?;
    println!("{}", tried.table);
    Ok(if tried.is_as_expected { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn bench(arguments: &[OsString]) -> Result<ExitCode> {
    // Optimized, but for what would take longer than the measuring.
    let cargo = variable("CARGO").unwrap_or_else(|| "cargo".into());
    let mut run = Command::new(cargo);
    run.args(["run", "--quiet", "--profile", "ci", "--package", "bench", "--"]).args(arguments);
    let status = run.current_dir(dev::workspace()).status().context("start cargo")?;
    // It may be UNAVAILABLE, too.
    Ok(ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1)))
}

async fn psql(user: &str, arguments: &[OsString]) -> Result<ExitCode> {
    let (state, _cluster) = reach().await?;
    let login = Login::ALL.into_iter().find(|login| login.user().ends_with(user));
    let (user, password) = match login {
        Some(login) => (login.user(), &state.login_password),
        None => ("norvalt_owner", &state.owner_password),
    };
    let beside = Binaries::find_or_fetch(&database::tools())?.program("psql");
    let mut psql = Command::new(if beside.is_file() { beside.as_os_str() } else { "psql".as_ref() });
    let port = state.postgres_port.unwrap_or_default().to_string();
    psql.args(arguments).envs([("PGHOST", "127.0.0.1"), ("PGPORT", &port), ("PGDATABASE", DATABASE)]);
    psql.envs([("PGUSER", user), ("PGPASSWORD", password)]);
    // Ctrl-C ends a query in psql, not us.
    let _ours = signal(SignalKind::interrupt())?;
    let status = psql
        .status()
        .context("start psql: install it, or point NORVALT_POSTGRES_BIN at a PostgreSQL that has it")?;
    Ok(ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1)))
}

async fn migrate_local() -> Result<()> {
    let (state, _cluster) = reach().await?;
    report(&bring_up_to_date(&state.owner_url(), &local_passwords(&state)).await?);
    Ok(())
}

fn report(applied: &[String]) {
    for name in applied {
        println!("applied {name}");
    }
    if applied.is_empty() {
        println!("nothing to apply");
    }
}

async fn seed() -> Result<()> {
    let (state, _cluster) = reach().await?;
    let seeded = database::fill(&state).await?;
    println!("{} leads, {} conversations", seeded.leads, seeded.conversations);
    Ok(())
}

fn env() -> Result<()> {
    for (name, value) in State::load()?.environment() {
        println!("{name}={value}");
    }
    if !Lock::is_taken()? {
        progress::warn("the stack is not running: these are the settings of its last run");
    }
    Ok(())
}
