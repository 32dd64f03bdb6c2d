//! The cost of a million requests on AWS Lambda, beside the Python function's.
use anyhow::Result;

use crate::bench::{Bench, drive};
use crate::event;
use crate::peers::fastapi;
use crate::process::cpu_seconds;
use crate::report::{Goal, Row, Section, table};
use crate::sandbox::Sandbox;
use crate::statistics::{Summary, short};

/// US dollars for a GB-second on arm64, and for a million requests: AWS's list price in us-east-1, first tier.
const DOLLARS_PER_GB_SECOND: f64 = 0.000_013_333_4;
const DOLLARS_PER_MILLION_REQUESTS: f64 = 0.20;

/// The memory with which Lambda gives a whole CPU, in MB; less memory gets its share of one.
const MB_PER_CPU: f64 = 1_769.0;

const MEMORY_MB: [f64; 2] = [128.0, 256.0];

/// One warm invocation, in milliseconds.
struct Invocation {
    duration: f64,
    cpu: f64,
}

impl Invocation {
    async fn measure(mut sandbox: Sandbox, bench: &Bench) -> Result<Self> {
        let events = event::list("", &bench.callers)?;
        let pid = sandbox.pid()?;
        let sandbox = std::slice::from_mut(&mut sandbox);
        drive(sandbox, &events, bench.effort.warm_up).await?;
        let before = cpu_seconds(pid)?;
        let load = drive(sandbox, &events, bench.effort.round).await?;
        let cpu = (cpu_seconds(pid)? - before) / load.requests() as f64 * 1e3;
        Ok(Self { duration: load.quantile(0.5), cpu })
    }

    /// Lambda bills every started millisecond. Waiting takes as long with any memory; computing takes longer with a smaller
    /// share of a CPU.
    fn billed_ms(&self, memory_mb: f64) -> f64 {
        let waiting = (self.duration - self.cpu).max(0.0);
        (waiting + self.cpu * (MB_PER_CPU / memory_mb).max(1.0)).ceil()
    }

    fn dollars_per_million(&self, memory_mb: f64) -> f64 {
        let gb_seconds = 1e6 * self.billed_ms(memory_mb) / 1e3 * memory_mb / 1024.0;
        gb_seconds * DOLLARS_PER_GB_SECOND + DOLLARS_PER_MILLION_REQUESTS
    }

    fn cells(&self, name: &str) -> Vec<Vec<String>> {
        let cells = MEMORY_MB.map(|memory| {
            vec![
                format!("{name}, {memory} MB"),
                short(self.duration),
                short(self.cpu),
                short(self.billed_ms(memory)),
                format!("{:.2}", self.dollars_per_million(memory)),
            ]
        });
        cells.into()
    }
}

pub(crate) async fn measure(bench: &Bench) -> Result<Section> {
    let ours = Invocation::measure(bench.sandbox("list-leads").await?, bench).await?;
    let python = async { Invocation::measure(fastapi::function(bench).await?, bench).await }.await;
    let rows = MEMORY_MB.map(|memory| {
        let value = Summary::of(&[ours.dollars_per_million(memory)]);
        Row::new(format!("list-leads, {memory} MB: cost per million requests"), Goal::None, "USD", value)
    });
    let mut cells = ours.cells("list-leads");
    let mut skipped = Vec::new();
    match python {
        Ok(python) => cells.extend(python.cells("FastAPI, Mangum")),
        Err(error) => skipped.push(format!("the Python function's cost ({error:#})")),
    }
    let text = format!(
        "{}\nDerived: {DOLLARS_PER_MILLION_REQUESTS} USD for the requests and {DOLLARS_PER_GB_SECOND} USD per GB-second (arm64, \
         list price), over the billed duration: what a warm invocation waited here, and its CPU time over the share of a CPU \
         that the memory brings ({MB_PER_CPU} MB are a whole one), up to the next millisecond. The database is on the same \
         machine; each millisecond of network to it adds one to all. Neither API Gateway nor the database is in it.\n",
        table(&["", "duration ms", "CPU ms", "billed ms", "USD per million"], &cells)
    );
    Ok(Section { title: "Cost", rows: rows.into(), text, skipped, ..Section::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn computing_is_dearer_with_less_memory_and_waiting_is_not() {
        let invocation = Invocation { duration: 2.0, cpu: 1.0 };
        assert_eq!(invocation.billed_ms(1_769.0), 2.0);
        assert_eq!(invocation.billed_ms(128.0), 15.0, "1 ms of waiting and 13.8 ms of computing");
        let waiting = Invocation { duration: 2.0, cpu: 0.0 };
        assert_eq!(waiting.billed_ms(128.0), 2.0);
    }

    #[test]
    fn a_million_requests_cost_their_gb_seconds_and_themselves() {
        let dollars = Invocation { duration: 8.0, cpu: 0.0 }.dollars_per_million(128.0);
        assert!((dollars - (1_000.0 * DOLLARS_PER_GB_SECOND + 0.20)).abs() < 1e-9, "{dollars}");
    }
}
