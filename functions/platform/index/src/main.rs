//! `GET /`: starts the sandbox; what it answers is in `lib.rs`.
use index::FILES;
use shared::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    FILES.serve().await
}
