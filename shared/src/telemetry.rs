//! The log: JSON lines, one for each request or scheduled run, and never personal data, tokens or bodies.
use std::sync::OnceLock;
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use uuid::Uuid;

use crate::error::{ApiError, StatusCode};
use crate::job::Schedule;

/// The count of a run that is a field of its line too: the age in seconds of the oldest of what waited for it.
const WAITING_SECONDS: &str = "waiting_seconds";

/// Log from here on to standard output. The level is `AWS_LAMBDA_LOG_LEVEL`, which the template sets, or INFO.
pub fn init() {
    let filter = EnvFilter::builder()
        .with_env_var("AWS_LAMBDA_LOG_LEVEL")
        .with_default_directive(tracing::Level::INFO.into());
    let log = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_env_filter(filter.from_env_lossy());
    // Only the first subscriber of a process counts.
    let _ = log.try_init();
}

/// The one line about a request. A refusal is the caller's business; a 5xx, or a failure behind a good answer, is ours,
/// so that is an error.
pub(crate) fn request(
    route: &str,
    dealership: &OnceLock<Uuid>,
    request_id: &str,
    status: StatusCode,
    latency: Duration,
    error: Option<&ApiError>,
) {
    let dealership_id = dealership.get().map(tracing::field::display);
    let latency_ms = latency.as_secs_f64() * 1000.0;
    let outcome = error.map_or("ok", ApiError::code);
    let cause = error.and_then(ApiError::cause);
    let is_ours = error.is_some_and(|error| error.status().is_server_error());
    let status = status.as_u16();
    if is_ours {
        tracing::error!(request_id, route, dealership_id, latency_ms, status, outcome, cause, "request");
    } else {
        tracing::info!(request_id, route, dealership_id, latency_ms, status, outcome, cause, "request");
    }
}

/// The one line about a scheduled run: what it counted, or why it failed. The counts are text, into which no metric filter
/// looks, so what an alarm rests on is a field of its own.
pub(crate) fn run(
    schedule: &Schedule,
    request_id: &str,
    latency: Duration,
    outcome: Result<&serde_json::Value, &str>,
) {
    let schedule = schedule.name;
    let latency_ms = latency.as_secs_f64() * 1000.0;
    match outcome {
        Ok(counts) => {
            let waiting_seconds = counts.get(WAITING_SECONDS).and_then(serde_json::Value::as_i64);
            tracing::info!(request_id, schedule, latency_ms, waiting_seconds, outcome = "ok", counts = %counts, "run");
        }
        Err(cause) => tracing::error!(request_id, schedule, latency_ms, outcome = "failed", cause, "run"),
    }
}
