//! Functions that run by the clock: a sandbox starts once, then works for each event of the scheduler and reports.
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use jiff::Timestamp;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error;
use uuid::Uuid;

use crate::app::connect;
use crate::chain::chain;
use crate::clock::Clock;
use crate::config::{Settings, StartupError};
use crate::db::{Access, Database, DbStats, Gate, Login, NamedSql, Scope};
use crate::telemetry::{self, Invocation};

/// One scheduled function.
#[derive(Debug)]
pub struct Schedule {
    /// Folder, package, binary, event and test.
    pub name: &'static str,
    /// What it does, for the table of schedules.
    pub summary: &'static str,
    /// When it runs: an expression of EventBridge Scheduler.
    pub expression: &'static str,
    /// The database user it logs in as.
    pub login: Login,
    /// How long one run may take, in seconds.
    pub timeout_seconds: u16,
    /// The settings that it reads beside its login's; the names of `.env.example`.
    pub settings: &'static [&'static str],
    /// Every statement that it runs.
    pub statements: &'static [&'static [NamedSql]],
    /// How often a run that failed is tried again.
    pub retries: u8,
    /// For how long an event that was not delivered is worth trying, in seconds.
    pub max_age_seconds: u32,
}

/// A scheduled function as another program links it in. The macro [`scheduled!`](crate::scheduled!) makes one of a
/// function's crate.
#[derive(Clone, Copy)]
pub struct Scheduled {
    /// When it runs.
    pub schedule: &'static Schedule,
    /// Starts a sandbox of it and runs it for one event.
    pub run: fn(Settings, Clock, Value) -> Run,
}

/// A run, which ends with its counts.
pub type Run = Pin<Box<dyn Future<Output = Result<Value, RunError>>>>;

/// Why a run has no answer.
#[derive(Debug, Error)]
pub enum RunError {
    /// Its sandbox does not start.
    #[error(transparent)]
    Startup(#[from] StartupError),
    /// It failed; the log says why.
    #[error("{}", .0.error_message)]
    Failed(Diagnostic),
}

/// The [`Scheduled`] of a function's crate: of its `SCHEDULE` and its `run`, which takes a `Config` if `Config` is named.
#[macro_export]
macro_rules! scheduled {
    ($function:ident) => {
        $crate::job::Scheduled {
            schedule: &$function::SCHEDULE,
            run: |settings, clock, event| {
                ::std::boxed::Box::pin(async {
                    let job = $crate::Job::new(&$function::SCHEDULE, settings, clock).await?;
                    let run = job.run(event, "", None, async |request| $function::run(&job, request).await);
                    run.await.map_err($crate::job::RunError::Failed)
                })
            },
        }
    };
    ($function:ident, Config) => {
        $crate::job::Scheduled {
            schedule: &$function::SCHEDULE,
            run: |settings, clock, event| {
                ::std::boxed::Box::pin(async {
                    let job = $crate::Job::new(&$function::SCHEDULE, settings, clock).await?;
                    let config = $function::Config::read(job.settings()).await?;
                    let run = async |request| $function::run(&job, &config, request).await;
                    job.run(event, "", None, run).await.map_err($crate::job::RunError::Failed)
                })
            },
        }
    };
}

/// What a sandbox keeps between runs.
pub struct Job {
    schedule: &'static Schedule,
    settings: Arc<Settings>,
    clock: Clock,
    database: Database,
    /// One for all runs, which come one after the other.
    stats: Arc<DbStats>,
    /// Until the first run.
    is_cold: AtomicBool,
}

impl Job {
    /// Starts the sandbox: telemetry, settings, and a connection to the database. It lives as long as the process.
    ///
    /// # Errors
    /// When a setting is missing or unusable, or the login user could bypass row-level security.
    pub async fn start(schedule: &'static Schedule) -> Result<&'static Self, StartupError> {
        telemetry::init();
        let job: &'static Self =
            Box::leak(Box::new(Self::new(schedule, Settings::from_env(), Clock::system()).await?));
        connect(&job.database, schedule.login).await?;
        Ok(job)
    }

    /// A job that has connected to nothing yet: what [`Job::start`] warms up, and what works outside of Lambda.
    ///
    /// # Errors
    /// When a setting is missing or unusable.
    pub async fn new(
        schedule: &'static Schedule,
        settings: Settings,
        clock: Clock,
    ) -> Result<Self, StartupError> {
        let settings = Arc::new(settings);
        let database = Database::new(settings.clone(), schedule.login).await?;
        let is_cold = AtomicBool::new(true);
        Ok(Self { schedule, settings, clock, database, stats: Arc::default(), is_cold })
    }

    /// The settings, for what one function needs alone.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The current time, by the clock that a test can set.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The scope of what Clerk says: dealerships, users, memberships and the inbox, and no lead. Its time is short,
    /// so each transaction takes a new one.
    #[must_use]
    pub fn provisioning(&self) -> Scope<'_> {
        Scope::new(&self.database, Gate::Provisioning, Access::Write, &self.stats)
    }

    /// The scope of what the form of a dealership has received; without a dealership, only of which ones have some
    /// that waits. Its time is short, so each transaction takes a new one.
    #[must_use]
    pub fn parsing(&self, dealership: Option<Uuid>) -> Scope<'_> {
        Scope::new(&self.database, Gate::Parsing(dealership), Access::Write, &self.stats)
    }

    /// Takes the scheduler's events until the sandbox ends.
    ///
    /// # Errors
    /// When the Lambda runtime ends.
    pub async fn serve<E, R, F>(
        &self,
        work: impl AsyncFn(E) -> Result<R, F>,
    ) -> Result<(), lambda_runtime::Error>
    where
        E: DeserializeOwned,
        R: Serialize,
        F: std::error::Error + 'static,
    {
        let work = &work;
        let run = move |event: LambdaEvent<Value>| async move {
            let context = event.context;
            self.run(event.payload, &context.request_id, context.xray_trace_id.as_deref(), work).await
        };
        lambda_runtime::run(service_fn(run)).await
    }

    /// Does the work of one event and writes one line about it to the log. A failure fails the invocation, so that
    /// the scheduler tries again and an alarm can see it.
    ///
    /// # Errors
    /// The event is not one of this function's, or what the work returned.
    pub async fn run<E, R, F>(
        &self,
        event: Value,
        request_id: &str,
        trace: Option<&str>,
        work: impl AsyncFnOnce(E) -> Result<R, F>,
    ) -> Result<Value, Diagnostic>
    where
        E: DeserializeOwned,
        R: Serialize,
        F: std::error::Error + 'static,
    {
        let mut invocation = Invocation::new(self.schedule.name, request_id.to_owned(), trace, &self.is_cold);
        invocation.stats = Arc::clone(&self.stats);
        let outcome = match serde_json::from_value(event) {
            Ok(event) => work(event).await.map_err(|error| chain(&error)),
            Err(error) => Err(format!("the event is not valid: {error}")),
        };
        let outcome = outcome.and_then(|counts| serde_json::to_value(counts).map_err(|error| chain(&error)));
        invocation.ran(outcome.as_ref().map_err(String::as_str));
        let error_type = self.schedule.name.to_owned();
        outcome.map_err(|error_message| Diagnostic { error_type, error_message })
    }
}
