//! The log: JSON lines, one for each request or scheduled run, and never personal data, tokens or bodies.
//!
//! That one line carries the metrics, too, in CloudWatch's embedded metric format, so that no call to CloudWatch is on
//! a request's way. `ROUTES` and `RUNS` say which of its fields are metrics; the dimension is the function, of which
//! there are few, and never the dealership: each value of a dimension is a metric that somebody pays for.
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use serde_json::Value;
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::{Format, Json, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::db::DbStats;
use crate::error::{ApiError, StatusCode};

/// What CloudWatch makes of a request's line.
const ROUTES: &str = concat!(
    r#"[{"Namespace":"Norvalt","Dimensions":[["route"]],"Metrics":["#,
    r#"{"Name":"latency_ms","Unit":"Milliseconds"},{"Name":"database_ms","Unit":"Milliseconds"},"#,
    r#"{"Name":"flushes","Unit":"Count"},{"Name":"cold_start","Unit":"Count"},{"Name":"failed","Unit":"Count"}]}]"#
);

/// And of a scheduled run's.
const RUNS: &str = concat!(
    r#"[{"Namespace":"Norvalt","Dimensions":[["schedule"]],"Metrics":["#,
    r#"{"Name":"latency_ms","Unit":"Milliseconds"},{"Name":"database_ms","Unit":"Milliseconds"},"#,
    r#"{"Name":"flushes","Unit":"Count"},{"Name":"cold_start","Unit":"Count"},{"Name":"failed","Unit":"Count"}]}]"#
);

/// The count of a run that is a field of its line too: the age in seconds of the oldest of what waited for it.
const WAITING_SECONDS: &str = "waiting_seconds";

/// Log from here on to standard output. The level is `AWS_LAMBDA_LOG_LEVEL`, which the template sets, or INFO; above
/// INFO there are no lines of good requests, and no metrics of them.
#[expect(clippy::disallowed_methods, reason = "the log begins before the settings are read")]
pub fn init() {
    let level = std::env::var("AWS_LAMBDA_LOG_LEVEL").ok().and_then(|level| level.parse().ok());
    let log = tracing_subscriber::fmt()
        .json()
        .event_format(LogFormat::default())
        .with_max_level(level.unwrap_or(LevelFilter::INFO));
    // Only the first subscriber of a process counts.
    let _ = log.try_init();
}

/// How an event becomes a line: as `tracing-subscriber` writes JSON, and with the metrics where it has some.
pub struct LogFormat(Format<Json>);

impl Default for LogFormat {
    fn default() -> Self {
        let format = Format::default().json().flatten_event(true);
        Self(format.with_current_span(false).with_span_list(false))
    }
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
            () if field("route") => Some(ROUTES),
            () if field("schedule") => Some(RUNS),
            () => None,
        };
        let Some(metrics) = metrics else { return self.0.format_event(context, writer, event) };
        // An event's own fields are flat, and the metrics are an object: it goes in before the last brace.
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        let fields = line.trim_end().strip_suffix('}').ok_or(fmt::Error)?;
        let now = Timestamp::now().as_millisecond();
        writeln!(writer, r#"{fields},"_aws":{{"Timestamp":{now},"CloudWatchMetrics":{metrics}}}}}"#)
    }
}

/// A request or a run from its first moment to its line.
pub(crate) struct Invocation {
    /// Of the route or the schedule.
    pub(crate) name: &'static str,
    pub(crate) request_id: String,
    /// X-Ray's.
    pub(crate) trace_id: Option<String>,
    /// Whether it is the first of its sandbox.
    pub(crate) is_cold: bool,
    pub(crate) started: Instant,
    pub(crate) stats: Arc<DbStats>,
}

impl Invocation {
    /// The one line about a request. A refusal is the caller's business; a 5xx, or a failure behind a good answer, is
    /// ours, so that is an error.
    pub(crate) fn answered(&self, status: StatusCode, error: Option<&ApiError>) {
        let Self { name: route, request_id, trace_id, .. } = self;
        let (latency_ms, database_ms, flushes, cold_start) = self.measured();
        let dealership_id = self.stats.dealership().map(tracing::field::display);
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

    /// The one line about a scheduled run: what it counted, or why it failed. The counts are text, into which no metric
    /// filter looks, so what an alarm rests on is a field of its own.
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
        let ms = |duration: std::time::Duration| duration.as_secs_f64() * 1000.0;
        (ms(self.started.elapsed()), ms(waited), flushes, u8::from(self.is_cold))
    }
}

/// The trace's id out of X-Ray's header, `Root=1-…;Parent=…;Sampled=1`. A caller can send one, so it is not passed on
/// unless it looks like one.
pub(crate) fn trace_id(header: Option<&str>) -> Option<String> {
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
