//! `POST /webhooks/clerk`: starts the sandbox; what the endpoint does is in `lib.rs`.
use clerk_webhook::{ROUTE, Secrets, handle};
use shared::{App, Error, run, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let app = App::start(&ROUTE).await?;
    let secrets: &Secrets = Box::leak(Box::new(Secrets::read(app.settings()).await?));
    run(service_fn(|request| app.respond(request, async |ctx| handle(ctx, secrets).await))).await
}
