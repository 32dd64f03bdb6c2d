//! The scheduled reconciliation in this process, with a Backend API of its own.
use std::sync::Arc;

use clerk_reconcile::{Config, Difference, Progress, Report, Request, SCHEDULE, reconcile};
use dev::clerk::backend::{Backend, SECRET_KEY};
use dev::sync_clerk::table;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use shared::Job;
use shared::clock::Clock;
use shared::config::Settings;
use tokio::net::TcpListener;

use crate::World;

/// So far ahead is a run's clock: no row here is so young that the run would leave it alone.
const AHEAD: SignedDuration = SignedDuration::from_hours(1);

/// A world, and the Backend API of Clerk that its rows are compared with.
pub struct Reconciliation {
    pub world: World,
    pub backend: Arc<Backend>,
    url: String,
    variables: Vec<(String, String)>,
    /// How far the run's clock is ahead of ours.
    pub ahead: SignedDuration,
}

/// A run's report and differences, or why it stopped.
pub type Done = Result<(Report, Vec<Difference>), String>;

impl Reconciliation {
    /// The seeded dealerships and people, at Clerk and here.
    pub async fn seeded() -> Self {
        Self::new(World::seeded().await, Backend::default()).await
    }

    pub async fn new(world: World, backend: Backend) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let backend = Arc::new(backend);
        tokio::spawn(backend.clone().serve(listener));
        Self { world, backend, url, variables: Vec::new(), ahead: AHEAD }
    }

    /// With this setting.
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    pub async fn job(&self) -> Job {
        let mut variables = self.world.variables();
        variables.push(("CLERK_API_URL".to_owned(), self.url.clone()));
        variables.push(("CLERK_SECRET_KEY".to_owned(), SECRET_KEY.to_owned()));
        variables.extend(self.variables.clone());
        let ahead = self.ahead;
        let clock = Clock::from_fn(move || Timestamp::now() + ahead);
        Job::new(&SCHEDULE, Settings::from_variables(variables), clock).await.unwrap()
    }

    /// Runs for an event of the scheduler, or another one.
    pub async fn try_run(&self, event: Value) -> Done {
        let job = self.job().await;
        let config = Config::read(job.settings()).await.unwrap();
        let mut differences = Vec::new();
        let mut report = None;
        let work = async |request: Request| {
            let mut on_progress = |progress| {
                if let Progress::Difference(difference) = progress {
                    differences.push(difference);
                }
            };
            report = Some(reconcile(&job, &config, &request, &mut on_progress).await?);
            Ok::<_, clerk_reconcile::Failure>(())
        };
        job.run(event, "test", None, work).await.map_err(|failure| failure.error_message)?;
        Ok((report.unwrap(), differences))
    }

    /// The report of a run over everything, as people read it.
    pub async fn run(&self) -> String {
        self.report(json!({ "dry_run": false })).await
    }

    pub async fn dry_run(&self) -> String {
        self.report(json!({ "dry_run": true })).await
    }

    /// The differences that a run for this event reports, as people read them.
    pub async fn report(&self, event: Value) -> String {
        let (report, differences) = self.try_run(event).await.unwrap();
        assert_eq!(report.changed + report.left_alone, differences.len());
        table(&differences)
    }

    pub async fn sql(&self, statements: &str) {
        self.world.owner().await.batch_execute(statements).await.unwrap();
    }

    /// Every row that a run could touch, byte by byte.
    pub async fn dump(&self) -> Vec<String> {
        let sql = "
            select 'd ' || d::text from dealerships d union all select 'u ' || u::text from users u
            union all select 'm ' || m::text from memberships m union all select 't ' || t::text from clerk_tombstones t
            union all select 'i ' || i::text from webhook_inbox i union all select 'l ' || l::text from leads l
            order by 1";
        self.world.owner().await.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
    }
}
