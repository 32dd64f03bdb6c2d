//! `GET /api/v1/submissions`: starts the sandbox; what the endpoint does is in `lib.rs`.
use list_submissions::{ROUTE, handle};
use shared::{App, Error, run, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let app = App::start(&ROUTE).await?;
    run(service_fn(|request| app.respond(request, handle))).await
}
