//! `POST /webhooks/form/{dealership_id}`: starts the sandbox; what the endpoint does is in `lib.rs`.
use form_webhook::{Config, ROUTE, handle};
use leads::Phone;
use shared::{App, Error, run, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let app = App::start(&ROUTE).await?;
    let config: &Config = Box::leak(Box::new(Config::read(app.settings()).await?));
    Phone::warm_up();
    run(service_fn(|request| app.respond(request, async |ctx| handle(ctx, config).await))).await
}
