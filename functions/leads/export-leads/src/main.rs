//! `GET /api/v1/leads/export`: starts the sandbox; what the endpoint does is in `lib.rs`.
use export_leads::{ROUTE, handle};
use shared::{App, Error, run_streaming};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let app = App::start(&ROUTE).await?;
    run_streaming(|request| app.respond_with_file(request, handle)).await
}
