//! Starts the sandbox of the scheduled reconciliation; what it does is in `lib.rs`.
use clerk_reconcile::{Config, SCHEDULE, run};
use shared::{Error, Job};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let job = Job::start(&SCHEDULE).await?;
    let config = Config::read(job.settings()).await?;
    job.serve(async |request| run(job, &config, request).await).await
}
