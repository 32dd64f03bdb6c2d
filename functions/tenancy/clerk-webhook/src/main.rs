//! `POST /webhooks/clerk`: starts the sandbox; what the endpoint does is in `lib.rs`.
use clerk_webhook::{Config, ROUTE, handle};
use shared::{App, Error, run, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let app = App::start(&ROUTE).await?;
    let config: &Config = Box::leak(Box::new(Config::read(app.settings()).await?));
    run(service_fn(|request| app.respond(request, async |ctx| handle(ctx, config).await))).await
}
