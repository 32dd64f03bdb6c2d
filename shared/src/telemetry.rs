//! The log: JSON lines, one for each request or scheduled run, and never personal data, tokens or bodies.
//!
//! The line of a failure carries a metric, too, in CloudWatch's embedded metric format, so that no call to CloudWatch is
//! on a request's way: `failed`, on which the function's alarm rests. CloudWatch charges for a metric in each hour in which
//! it is sent, so a good line has none, and nothing is a metric that no alarm and no plot uses. The dimension is the
//! function, of which there are few, and never the dealership: each value of a dimension is a metric by itself.
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::{Format, Json, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

use crate::db::DbStats;
use crate::error::{ApiError, StatusCode};

/// The variable that names the namespace of the metrics: in AWS the stack, so that two stacks of one account keep
/// theirs apart.
const NAMESPACE: &str = "METRICS_NAMESPACE";
/// The namespace where the variable is not set.
const DEFAULT_NAMESPACE: &str = "Norvalt";

/// The fields of a failure's line that are metrics, with their units.
const METRICS: [(&str, &str); 1] = [("failed", "Count")];

/// The count of a run that is also a field of its line: the age in seconds of the oldest thing that waited for it.
const WAITING_SECONDS: &str = "waiting_seconds";

/// The longest actor that is logged, in bytes; Clerk's ids have about 32.
const MAX_ACTOR_BYTES: usize = 128;

/// Starts the log, on standard output, which Lambda collects.
pub fn init() {
    init_to(std::io::stdout);
}

/// Starts the log, on `writer`, such as a `Mutex<File>`. The level is `AWS_LAMBDA_LOG_LEVEL`, which the template sets, or
/// INFO. Above INFO there are no lines of good requests.
#[expect(clippy::disallowed_methods, reason = "the log begins before the settings are read")]
pub fn init_to(writer: impl for<'w> MakeWriter<'w> + Send + Sync + 'static) {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let level = variable("AWS_LAMBDA_LOG_LEVEL").and_then(|level| level.parse().ok());
    let namespace = variable(NAMESPACE);
    let log = tracing_subscriber::fmt()
        .json()
        .event_format(LogFormat::new(namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE)))
        .with_writer(writer)
        .with_max_level(level.unwrap_or(LevelFilter::INFO));
    // Only the first subscriber of a process counts.
    let _ = log.try_init();
}

/// Writes an event as a line: JSON as `tracing-subscriber` writes it, with the metric of a request or a run that failed.
pub struct LogFormat {
    json: Format<Json>,
    /// The metrics' description in the line of a request.
    routes: String,
    /// The same in the line of a run.
    schedules: String,
}

impl LogFormat {
    /// A format whose metrics are in `namespace`.
    #[must_use]
    pub fn new(namespace: &str) -> Self {
        let json = Format::default().json().flatten_event(true);
        Self {
            json: json.with_current_span(false).with_span_list(false),
            routes: directives(namespace, "route"),
            schedules: directives(namespace, "schedule"),
        }
    }
}

/// What CloudWatch needs to know to find the metrics in a line.
fn directives(namespace: &str, dimension: &str) -> String {
    let metrics = METRICS.map(|(name, unit)| json!({ "Name": name, "Unit": unit }));
    json!([{ "Namespace": namespace, "Dimensions": [[dimension]], "Metrics": metrics }]).to_string()
}

impl<S, N> FormatEvent<S, N> for LogFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let field = |name| event.metadata().fields().field(name).is_some();
        let metrics = match () {
            () if event.metadata().target() != module_path!() => None,
            // A line of ours is an error's if, and only if, its field `failed` is 1.
            () if *event.metadata().level() != Level::ERROR => None,
            () if field("route") => Some(&self.routes),
            () if field("schedule") => Some(&self.schedules),
            () => None,
        };
        let Some(metrics) = metrics else { return self.json.format_event(context, writer, event) };
        // An event's own fields are flat, and the metrics are an object: it goes in before the last brace.
        let mut line = String::new();
        self.json.format_event(context, Writer::new(&mut line), event)?;
        let fields = line.trim_end().strip_suffix('}').ok_or(fmt::Error)?;
        let now = Timestamp::now().as_millisecond();
        writeln!(writer, r#"{fields},"_aws":{{"Timestamp":{now},"CloudWatchMetrics":{metrics}}}}}"#)
    }
}

/// A request or a run, from its first moment to its line.
pub(crate) struct Invocation {
    /// The name of the route or the schedule.
    name: &'static str,
    pub(crate) request_id: String,
    /// X-Ray's.
    trace_id: Option<String>,
    /// Whether it is the first of its sandbox.
    is_cold: bool,
    started: Instant,
    /// Who impersonates the caller.
    actor: OnceLock<String>,
    pub(crate) stats: Arc<DbStats>,
}

impl Invocation {
    /// Begins now. `trace` is X-Ray's header; `is_cold` is true until the sandbox's first invocation.
    pub(crate) fn new(
        name: &'static str,
        request_id: String,
        trace: Option<&str>,
        is_cold: &AtomicBool,
    ) -> Self {
        Self {
            name,
            request_id,
            trace_id: trace_id(trace),
            is_cold: is_cold.swap(false, Ordering::Relaxed),
            started: Instant::now(),
            actor: OnceLock::new(),
            stats: Arc::default(),
        }
    }

    /// Notes that `actor` impersonates the caller. Clerk takes any text for an actor, so one that is not an id is logged
    /// as `unknown`.
    pub(crate) fn impersonated_by(&self, actor: &str) {
        let is_id = actor.len() <= MAX_ACTOR_BYTES
            && actor.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        let _ = self.actor.set(if is_id { actor } else { "unknown" }.to_owned());
    }

    /// Writes the one line about a request. A refusal is INFO: it is the caller's business. A 5xx, or a failure behind a
    /// good answer, is ours: ERROR.
    pub(crate) fn answered(&self, status: StatusCode, error: Option<&ApiError>) {
        let Self { name: route, request_id, trace_id, .. } = self;
        let (latency_ms, database_ms, flushes, cold_start) = self.measured();
        let dealership_id = self.stats.dealership().map(tracing::field::display);
        let actor = self.actor.get();
        let outcome = error.map_or("ok", ApiError::code);
        let cause = error.and_then(ApiError::cause);
        let failed = u8::from(error.is_some_and(|error| error.status().is_server_error()));
        let status = status.as_u16();
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    request_id,
                    trace_id,
                    route,
                    dealership_id,
                    actor,
                    latency_ms,
                    database_ms,
                    flushes,
                    cold_start,
                    failed,
                    status,
                    outcome,
                    cause,
                    "request"
                )
            };
        }
        if failed == 1 { line!(error) } else { line!(info) }
    }

    /// Writes the one line about a scheduled run: its counts, or why it failed. The counts are one text, in which a
    /// metric filter cannot look, so the count that an alarm needs is a field of its own.
    pub(crate) fn ran(&self, outcome: Result<&Value, &str>) {
        let Self { name: schedule, request_id, trace_id, .. } = self;
        let (latency_ms, database_ms, flushes, cold_start) = self.measured();
        let waiting_seconds =
            outcome.ok().and_then(|counts| counts.get(WAITING_SECONDS)).and_then(Value::as_i64);
        let (counts, cause) = (outcome.ok().map(tracing::field::display), outcome.err());
        let failed = u8::from(cause.is_some());
        let outcome = if failed == 1 { "failed" } else { "ok" };
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    request_id,
                    trace_id,
                    schedule,
                    latency_ms,
                    database_ms,
                    flushes,
                    cold_start,
                    failed,
                    waiting_seconds,
                    outcome,
                    counts,
                    cause,
                    "run"
                )
            };
        }
        if failed == 1 { line!(error) } else { line!(info) }
    }

    fn measured(&self) -> (f64, f64, u64, u8) {
        let (flushes, waited) = self.stats.take();
        let ms = |duration: Duration| duration.as_secs_f64() * 1000.0;
        (ms(self.started.elapsed()), ms(waited), flushes, u8::from(self.is_cold))
    }
}

/// The trace's id in X-Ray's header, `Root=1-…;Parent=…;Sampled=1`. A caller can send the header, so text that does not
/// look like an id is dropped.
fn trace_id(header: Option<&str>) -> Option<String> {
    let root = header?.split(';').find_map(|part| part.strip_prefix("Root="))?;
    let is_hex =
        |part: &str, digits| part.len() == digits && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    match root.split('-').collect::<Vec<_>>()[..] {
        ["1", time, unique] if is_hex(time, 8) && is_hex(unique, 24) => Some(root.to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_known_by_its_root_and_nothing_else_is_taken_for_one() {
        let root = "1-6b000c10-0e6d83a5f2b94717c8d15e42";
        for header in [
            format!("Root={root}"),
            format!("Root={root};Parent=53995c3f42cd8ad8;Sampled=1"),
            format!("Self=x;Root={root}"),
        ] {
            assert_eq!(trace_id(Some(&header)).as_deref(), Some(root), "{header}");
        }
        for header in
            ["", "Root=", "Root=kari@example.no", "Root=1-6b000c10-kari", "Parent=53995c3f42cd8ad8", root]
        {
            assert_eq!(trace_id(Some(header)), None, "{header}");
        }
        assert_eq!(trace_id(None), None);
    }
}
