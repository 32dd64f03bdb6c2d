//! Starts the sandbox of the migrations; what it does is in `lib.rs`.
use lambda_runtime::{Error, LambdaEvent, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    shared::telemetry::init();
    lambda_runtime::run(service_fn(async |event: LambdaEvent<_>| {
        let context = event.context;
        let reported = migrate_database::answer(event.payload, context.deadline(), &context.request_id).await;
        reported.map_err(Error::from)
    }))
    .await
}
