//! `POST /api/v1/merges/{id}/undo`: starts the sandbox; what the endpoint does is in `lib.rs`.
use shared::{App, Error, run, service_fn};
use undo_merge::{ROUTE, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let app = App::start(&ROUTE).await?;
    run(service_fn(|request| app.respond(request, handle))).await
}
