//! `POST /api/v1/leads/{id}/merge`: starts the sandbox; what the endpoint does is in `lib.rs`.
use merge_lead::{ROUTE, handle};
use shared::{App, Error, run, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let app = App::start(&ROUTE).await?;
    run(service_fn(|request| app.respond(request, handle))).await
}
