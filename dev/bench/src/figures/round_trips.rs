//! Round trips: how often a request waits for the database, from how much longer it takes when the database is far away.
use std::time::Duration;

use anyhow::{Context, Result};
use dev::proxy::{Pass, Proxy};

use crate::bench::Bench;
use crate::event::{self, FUNCTIONS};
use crate::plot::{Bar, Bars};
use crate::report::{Goal, Row, Section, table};
use crate::statistics::{Summary, ms, quantile, short};

/// The delay that the proxy adds, there and back.
const ROUND_TRIP: Duration = Duration::from_millis(20);

/// One flush, and a little that the delay is not the cause of.
const GOAL: f64 = 1.15;
/// Two flushes: what it applies depends on what the first one recorded.
const GOAL_OF_CLERK_WEBHOOK: f64 = 2.15;

/// Requests that each sandbox gets before it is the other's turn.
const IN_A_ROW: u64 = 10;

pub(crate) async fn measure(bench: &Bench) -> Result<Section> {
    let proxy = Proxy::before(bench.cluster.port(), Pass::Later(ROUND_TRIP / 2)).await?;
    let (mut rows, mut cells, mut bars) = (Vec::new(), Vec::new(), Vec::new());
    for function in FUNCTIONS {
        let [near, far] = medians(bench, function, proxy.port()).await.context(function)?;
        let round_trips: Vec<f64> =
            near.iter().zip(&far).map(|(near, far)| (far - near) / ms(ROUND_TRIP)).collect();
        let trips = Summary::of(&round_trips);
        let goal = if function == "clerk-webhook" { GOAL_OF_CLERK_WEBHOOK } else { GOAL };
        let name = format!("{function}: round trips to the database");
        rows.push(Row::new(name, Goal::AtMost(goal), "", trips).because(reason(function)));
        let [near, far] = [near, far].map(|values| short(Summary::of(&values).median));
        cells.push(vec![function.to_owned(), near, far, short(trips.median)]);
        bars.push(Bar { label: function.to_owned(), value: trips.median, is_ours: true });
    }
    let text = format!(
        "{}\nThe p50 of an invocation with a proxy before PostgreSQL that holds each byte for {} ms each way, less the p50 \
         without, over {} ms.\n",
        table(&["", "p50 ms", "p50 ms, 20 ms away", "round trips"], &cells),
        ROUND_TRIP.as_millis() / 2,
        ROUND_TRIP.as_millis(),
    );
    let plots = vec![Bars {
        file: "round-trips.svg",
        title: "Round trips to the database per request",
        axis: "round trips (less is better)",
        bars,
    }];
    Ok(Section { title: "Network latency", rows, text, plots, ..Section::default() })
}

fn reason(function: &str) -> &'static str {
    match function {
        "form-webhook" => {
            "it stores the submission, and files the enquiry by the mapping that the first flush brings in a second one"
        }
        _ => "beyond whole round trips it is the writing's own time and the machine's",
    }
}

/// The medians of some rounds, without and with the delay.
async fn medians(bench: &Bench, function: &str, proxy: u16) -> Result<[Vec<f64>; 2]> {
    let events = event::of(function, &bench.callers)?;
    let near = bench.sandbox(function).await?;
    let far = bench.sandbox_at(function, bench.size(), proxy).await?;
    let mut sandboxes = [near, far];
    let mut medians = [Vec::new(), Vec::new()];
    let mut number = 0;
    for _ in 0..bench.effort.rounds {
        let mut latencies = [Vec::new(), Vec::new()];
        for _ in 0..(bench.effort.requests / bench.effort.rounds as u64 / IN_A_ROW).max(1) {
            for (sandbox, latencies) in sandboxes.iter_mut().zip(&mut latencies) {
                for _ in 0..IN_A_ROW {
                    latencies.push(ms(sandbox.invoke(events(number)).await?.took));
                    number += 1;
                }
            }
        }
        for (median, latencies) in medians.iter_mut().zip(&latencies) {
            median.push(quantile(latencies, 0.5));
        }
    }
    Ok(medians)
}
