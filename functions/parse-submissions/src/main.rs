//! Starts the sandbox of the scheduled parser; what it does is in `lib.rs`.
use parse_submissions::{SCHEDULE, parse};
use shared::{Error, Job};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let job = Job::start(&SCHEDULE).await?;
    // What changed is personal data, so the log has the counts alone.
    job.serve(async |request| parse(job, &request, &mut |_| ()).await).await
}
