//! Starts the sandbox of the scheduled parser; what it does is in `lib.rs`.
use leads::Phone;
use parse_submissions::{SCHEDULE, run};
use shared::{Error, Job};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let job = Job::start(&SCHEDULE).await?;
    Phone::warm_up();
    job.serve(async |request| run(job, request).await).await
}
