//! Starts the sandbox of the scheduled reconciliation; what it does is in `lib.rs`.
use clerk_reconcile::{Config, SCHEDULE, reconcile};
use shared::{Error, Job};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let job = Job::start(&SCHEDULE).await?;
    let config = Config::read(job.settings()).await?;
    // What changed is personal data, so the log has the counts alone.
    job.serve(async |request| reconcile(job, &config, &request, &mut |_| ()).await).await
}
