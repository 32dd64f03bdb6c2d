//! `POST /api/v1/leads`: starts the sandbox; what the endpoint does is in `lib.rs`.
use create_lead::{ROUTE, handle};
use leads::Phone;
use shared::{App, Error, run, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    Phone::warm_up();
    let app = App::start(&ROUTE).await?;
    run(service_fn(|request| app.respond(request, handle))).await
}
