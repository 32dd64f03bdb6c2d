//! Cold starts: the time from a process's start until it asks for an event, and until it has answered one.
use anyhow::Result;

use crate::bench::Bench;
use crate::event;
use crate::peers::fastapi;
use crate::plot::{Bar, Bars};
use crate::report::{Goal, Row, Section, table};
use crate::sandbox::Sandbox;
use crate::statistics::{Summary, ms, short};

/// Milliseconds until it asks for an event.
const READY_GOAL: f64 = 15.0;
/// Milliseconds until it has answered one.
const ANSWERED_GOAL: f64 = 60.0;
/// Times as fast as the Python function.
const TIMES_GOAL: f64 = 15.0;

#[derive(Default)]
struct Starts {
    ready: Vec<f64>,
    answered: Vec<f64>,
}

impl Starts {
    async fn one(&mut self, mut sandbox: Sandbox, bench: &Bench) -> Result<()> {
        self.ready.push(ms(sandbox.ready_after().await?));
        let event = event::list("", &bench.callers)?(self.ready.len() as u64);
        let started_at = sandbox.started_at();
        self.answered.push(ms(sandbox.invoke(event).await?.arrived_at.duration_since(started_at)));
        Ok(())
    }
}

pub(crate) async fn measure(bench: &Bench) -> Result<Section> {
    let (mut ours, mut python) = (Starts::default(), Starts::default());
    let mut skipped = Vec::new();
    for _ in 0..bench.effort.starts {
        ours.one(bench.sandbox("list-leads").await?, bench).await?;
        if skipped.is_empty() {
            let start = async { python.one(fastapi::function(bench).await?, bench).await };
            skipped.extend(
                start.await.err().map(|error| format!("the Python function's cold start ({error:#})")),
            );
        }
    }
    let [ready, answered] = [&ours.ready, &ours.answered].map(|values| Summary::of(values));
    let mut rows = vec![
        Row::new("list-leads: exec to the first `invocation/next`", Goal::AtMost(READY_GOAL), "ms", ready),
        Row::new(
            "list-leads: exec to the first answered request",
            Goal::AtMost(ANSWERED_GOAL),
            "ms",
            answered,
        ),
    ];
    let mut cells = vec![cells("list-leads", &ours)];
    let mut bars = vec![Bar { label: "list-leads".to_owned(), value: answered.median, is_ours: true }];
    if skipped.is_empty() {
        let theirs = Summary::of(&python.answered);
        let name = "list-leads: cold start to the first answer, times as fast as the Python function";
        rows.push(Row::once(name, Goal::AtLeast(TIMES_GOAL), "×", theirs.median / answered.median));
        cells.push(self::cells("FastAPI, Mangum", &python));
        bars.push(Bar { label: "FastAPI, Mangum".to_owned(), value: theirs.median, is_ours: false });
    }
    let text = format!(
        "{}\nMedians of {} starts of each, in turn, against the same Runtime API endpoint. The start includes a connection to \
         PostgreSQL and Clerk's keys by HTTP, both on this machine: no network's share. The Python function is the FastAPI \
         application under Mangum and AWS's own `awslambdaric`, its byte code compiled before.\n",
        table(&["", "first `next` ms", "spread", "first answer ms", "spread"], &cells),
        ours.ready.len(),
    );
    let plots = vec![Bars {
        file: "cold-start.svg",
        title: "Cold start: from exec to the first answer",
        axis: "milliseconds (less is better)",
        bars,
    }];
    Ok(Section { title: "Cold start", rows, text, plots, skipped })
}

fn cells(name: &str, starts: &Starts) -> Vec<String> {
    let both = [&starts.ready, &starts.answered].map(|values| {
        let Summary { median, lowest, highest } = Summary::of(values);
        [short(median), format!("{} to {}", short(lowest), short(highest))]
    });
    std::iter::once(name.to_owned()).chain(both.concat()).collect()
}
