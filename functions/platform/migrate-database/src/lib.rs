//! Runs in every deployment before any other function changes: applies the migrations and sets the passwords of the
//! login users to those in their secrets. CloudFormation calls it as a custom resource. It has no URL, and only it has
//! the owner's secret.
use std::time::{Duration, Instant, SystemTime};

use backon::{ConstantBuilder, Retryable};
use migrations::{MigrateError, migrate, password_in, set_passwords};
use reqwest::header::CONTENT_TYPE;
use serde::{Deserialize, Serialize};
use shared::chain::chain;
use shared::config::{Settings, StartupError};
use shared::db::{Login, OwnerError, connect_as_owner};
use shared::outbound;
use thiserror::Error;
use tokio::time::timeout;

/// Folder, package, binary, event and test.
pub const NAME: &str = "migrate-database";

/// The setting with the connection URL, or the RDS secret, of the database's owner.
const OWNER: &str = "DATABASE_URL_OWNER";
/// The time that is kept for the answer: without an answer CloudFormation waits on.
const TIME_TO_ANSWER: Duration = Duration::from_secs(5);
/// The timeout of one attempt to answer, the number of retries, and the pause between; together they fit into
/// [`TIME_TO_ANSWER`].
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
const ANSWER_RETRIES: usize = 3;
const ANSWER_PAUSE: Duration = Duration::from_millis(200);
/// The most bytes of a reason. CloudFormation takes 4,096 for the whole answer.
const MAX_REASON_BYTES: usize = 1024;

/// CloudFormation's request: the CloudFormation User Guide, "Custom resource request objects".
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    request_type: RequestType,
    /// A signed URL, so it is a secret for two hours.
    #[serde(rename = "ResponseURL")]
    response_url: String,
    stack_id: String,
    request_id: String,
    logical_resource_id: String,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
enum RequestType {
    Create,
    Update,
    Delete,
}

/// The answer to CloudFormation: the same guide, "Custom resource response objects".
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Answer<'a> {
    status: &'static str,
    reason: &'a str,
    /// Always the same: after another id CloudFormation would send a `Delete` of the old one.
    physical_resource_id: &'static str,
    stack_id: &'a str,
    request_id: &'a str,
    logical_resource_id: &'a str,
}

/// Why the database is not up to date.
#[derive(Debug, Error)]
enum Failure {
    #[error("{0:?}")]
    Setting(StartupError),
    #[error("{}", .0.chain())]
    Migrate(#[from] MigrateError),
    #[error("{}", chain(.0))]
    Owner(#[from] OwnerError),
    #[error("the migrations took longer than this function may run: `cargo dev migrate --url` has no limit")]
    Late,
}

/// CloudFormation got no answer.
#[derive(Debug, Error)]
pub enum NotReported {
    /// The URL is not one that we send to.
    #[error("the ResponseURL is not an https:// URL")]
    Url,
    /// CloudFormation refused the answer, or could not be reached.
    #[error("CloudFormation cannot be reached")]
    Request(#[source] reqwest::Error),
}

/// Does what a request asks for before `deadline`, and reports the result to CloudFormation.
///
/// # Errors
/// [`NotReported`]: then Lambda tries again, and running twice changes nothing.
pub async fn answer(request: Request, deadline: SystemTime, invocation: &str) -> Result<(), NotReported> {
    let started = Instant::now();
    let left = deadline.duration_since(SystemTime::now()).unwrap_or_default().saturating_sub(TIME_TO_ANSWER);
    let outcome = match request.request_type {
        // The data stay when the stack is deleted.
        RequestType::Delete => Ok(Vec::new()),
        RequestType::Create | RequestType::Update => {
            timeout(left, bring_up_to_date()).await.unwrap_or(Err(Failure::Late))
        }
    };

    let (request_id, latency_ms) = (invocation, started.elapsed().as_secs_f64() * 1000.0);
    let (status, reason) = match outcome {
        Ok(applied) => {
            let applied = applied.join(", ");
            tracing::info!(request_id, latency_ms, outcome = "ok", applied, "migration");
            ("SUCCESS", String::new())
        }
        Err(failure) => {
            let cause = failure.to_string();
            tracing::error!(request_id, latency_ms, outcome = "failed", cause, "migration");
            ("FAILED", cause)
        }
    };
    let reason = &reason[..reason.floor_char_boundary(MAX_REASON_BYTES)];
    report(&request, status, reason).await
}

/// Reads the secrets anew each time, since they may have been rotated while the sandbox was warm.
async fn bring_up_to_date() -> Result<Vec<String>, Failure> {
    let settings = Settings::from_env();
    let owner_url = settings.required(OWNER).await.map_err(Failure::Setting)?;
    let mut passwords = Vec::new();
    for login in Login::ALL {
        let url = settings.required(login.setting()).await.map_err(Failure::Setting)?;
        passwords.push((login, password_in(login, &url).map_err(Failure::Setting)?));
    }
    let applied = migrate(&owner_url).await?;
    let (mut owner, _connection) = connect_as_owner(&owner_url).await?;
    set_passwords(&mut owner, &passwords).await?;
    Ok(applied)
}

async fn report(request: &Request, status: &'static str, reason: &str) -> Result<(), NotReported> {
    let url = outbound::url(&request.response_url).ok_or(NotReported::Url)?;
    let client = outbound::client(ANSWER_TIMEOUT).build().map_err(NotReported::Request)?;
    let answer = Answer {
        status,
        reason,
        physical_resource_id: "database-schema",
        stack_id: &request.stack_id,
        request_id: &request.request_id,
        logical_resource_id: &request.logical_resource_id,
    };
    let body = serde_json::to_string(&answer).unwrap_or_default();
    let put = async || {
        // The signature is for a request with an empty content type.
        let put = client.put(url.clone()).header(CONTENT_TYPE, "").body(body.clone());
        put.send().await?.error_for_status()
    };
    let again = ConstantBuilder::default().with_delay(ANSWER_PAUSE).with_max_times(ANSWER_RETRIES);
    // An error of reqwest would have the signed URL in it.
    put.retry(again).await.map_err(|error| NotReported::Request(error.without_url()))?;
    Ok(())
}
