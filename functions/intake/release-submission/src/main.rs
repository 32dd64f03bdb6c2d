//! `POST /api/v1/submissions/{id}/release`: starts the sandbox; what the endpoint does is in `lib.rs`.
use leads::Phone;
use release_submission::{ROUTE, handle};
use shared::{App, Error, run, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let app = App::start(&ROUTE).await?;
    Phone::warm_up();
    run(service_fn(|request| app.respond(request, handle))).await
}
