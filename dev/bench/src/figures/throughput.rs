//! The list of leads under load: ours in sixteen sandboxes, every peer over sixteen connections, in turn.
use std::thread::available_parallelism;

use anyhow::Result;
use futures_util::future::try_join_all;

use crate::bench::{Bench, drive};
use crate::event::{self, Events};
use crate::http::Client;
use crate::load::{Load, closed_loop};
use crate::peers::{self, Peer};
use crate::plot::{Bar, Bars};
use crate::process::{cpu_seconds, own_cpu_seconds};
use crate::report::{Goal, Row, Section, table};
use crate::sandbox::Sandbox;
use crate::statistics::{Summary, short};

/// Requests under way at once.
const AT_ONCE: usize = 16;

/// Our rate, in times the best peer's.
const RATE_GOAL: f64 = 3.0;
/// Our CPU time, in parts of the best peer's.
const CPU_GOAL: f64 = 0.5;

enum Contender {
    Ours { sandboxes: Vec<Sandbox>, events: Events },
    Theirs(Peer),
}

#[derive(Default)]
struct Measured {
    rates: Vec<f64>,
    p50s: Vec<f64>,
    p99s: Vec<f64>,
    /// CPU time of each request, in milliseconds: the server's own, PostgreSQL's, and that of the load.
    cpu: Vec<f64>,
    of_postgres: Vec<f64>,
    of_load: Vec<f64>,
}

impl Contender {
    fn name(&self) -> &'static str {
        match self {
            Self::Ours { .. } => "Norvalt",
            Self::Theirs(peer) => peer.name,
        }
    }

    fn cpu_seconds(&self) -> Result<f64> {
        match self {
            Self::Ours { sandboxes, .. } => sandboxes.iter().map(|sandbox| cpu_seconds(sandbox.pid()?)).sum(),
            Self::Theirs(peer) => cpu_seconds(peer.pid()),
        }
    }

    /// The server's and PostgreSQL's.
    fn cpu_seconds_of_both(&self, bench: &Bench) -> Result<[f64; 2]> {
        Ok([self.cpu_seconds()?, cpu_seconds(bench.postmaster()?)?])
    }

    async fn load(&mut self, bench: &Bench, lasting: std::time::Duration) -> Result<Load> {
        match self {
            Self::Ours { sandboxes, events } => drive(sandboxes, events, lasting).await,
            Self::Theirs(peer) => {
                let clients = try_join_all((0..AT_ONCE).map(|_| Client::connect(&peer.target))).await?;
                let ask =
                    async |client: &mut Client, number| Ok(client.ask(bench.callers.token(number)).await?.1);
                closed_loop(clients, lasting, ask).await
            }
        }
    }
}

pub(crate) async fn measure(bench: &Bench) -> Result<Section> {
    let (peers, skipped) = peers::start_all(bench).await?;
    let notes: Vec<String> = peers.iter().map(|peer| format!("* {}: {}.\n", peer.name, peer.note)).collect();
    let sandboxes = try_join_all((0..AT_ONCE).map(|_| bench.sandbox("list-leads"))).await?;
    let ours = Contender::Ours { sandboxes, events: event::list("", &bench.callers)? };
    let mut contenders: Vec<(Contender, Measured)> = std::iter::once(ours)
        .chain(peers.into_iter().map(Contender::Theirs))
        .map(|one| (one, Measured::default()))
        .collect();

    for round in 0..bench.effort.rounds {
        for (contender, measured) in &mut contenders {
            if round == 0 {
                contender.load(bench, bench.effort.warm_up).await?;
            }
            // Ours is read last before the round and first after it: looking for the others' processes takes CPU time.
            let ([server, postgres], own) = (contender.cpu_seconds_of_both(bench)?, own_cpu_seconds()?);
            let load = contender.load(bench, bench.effort.round).await?;
            let own = own_cpu_seconds()? - own;
            let [server_after, postgres_after] = contender.cpu_seconds_of_both(bench)?;
            measured.rates.push(load.rate());
            measured.p50s.push(load.quantile(0.5));
            measured.p99s.push(load.quantile(0.99));
            let per_request = |seconds: f64| seconds / load.requests() as f64 * 1e3;
            measured.cpu.push(per_request(server_after - server));
            measured.of_postgres.push(per_request(postgres_after - postgres));
            measured.of_load.push(per_request(own));
        }
    }
    Ok(section(&contenders, &notes, skipped))
}

fn section(contenders: &[(Contender, Measured)], notes: &[String], skipped: Vec<String>) -> Section {
    let text = format!(
        "The newest 50 leads of a dealership with their last messages, {AT_ONCE} requests at once, each caller's token RS256 \
         and verified for each request; the callers take turns. Every contender returns the same rows, read by the same \
         database user under the same policies.\n\n{}\n{}\nAll share the machine with PostgreSQL and the load. The peers are \
         asked over HTTP by {AT_ONCE} connections that stay open; Norvalt's sandboxes, one process and one connection to the \
         database each, fetch their events from a Runtime API endpoint, which is two HTTP requests for each event instead \
         of one, and no server of API Gateway's in between is counted. So latencies compare the whole way in both, and the \
         CPU time, that of the server's own processes alone, is what compares most fairly.\n",
        side_by_side(contenders),
        notes.concat(),
    );
    let plots = vec![
        Bars {
            file: "throughput.svg",
            title: "A page of 50 leads, 16 requests at once",
            axis: "requests per second (more is better)",
            bars: bars(contenders, |measured| &measured.rates),
        },
        Bars {
            file: "cpu.svg",
            title: "CPU time of the server per request",
            axis: "milliseconds (less is better)",
            bars: bars(contenders, |measured| &measured.cpu),
        },
    ];
    let rows = rows(contenders);
    Section { title: "The list of leads beside its peers", rows, text, plots, skipped }
}

/// Ours, beside the best of the others. Ours comes first.
fn rows(contenders: &[(Contender, Measured)]) -> Vec<Row> {
    let (ours, theirs) = contenders.split_at(1);
    let ours = &ours[0].1;
    let median = |values: &[f64]| Summary::of(values).median;
    let best_rate = theirs.iter().map(|(_, measured)| median(&measured.rates)).fold(f64::NAN, f64::max);
    let best_cpu = theirs.iter().map(|(_, measured)| median(&measured.cpu)).fold(f64::NAN, f64::min);
    let (rate, cpu) = (Summary::of(&ours.rates), Summary::of(&ours.cpu));
    let (of_postgres, of_load) = (median(&ours.of_postgres), median(&ours.of_load));
    let cpus = available_parallelism().map_or(f64::NAN, |cpus| cpus.get() as f64);
    vec![
        Row::new(
            format!("list-leads, {AT_ONCE} sandboxes: requests per second, times the best HTTP peer's"),
            Goal::AtLeast(RATE_GOAL),
            "×",
            rate.times(1.0 / best_rate),
        )
        .because(format!(
            "of the CPU time that a request takes on this machine, {} ms are the function's own, {} ms PostgreSQL's and {} ms \
             those of the load and its Runtime API: a function that took none would come to {} times the best peer's rate",
            short(cpu.median),
            short(of_postgres),
            short(of_load),
            short(cpus / (of_postgres + of_load) * 1e3 / best_rate),
        )),
        Row::new(
            "list-leads: CPU time per request, parts of the best peer's",
            Goal::AtMost(CPU_GOAL),
            "×",
            cpu.times(1.0 / best_cpu),
        ),
        Row::new(format!("list-leads, {AT_ONCE} sandboxes: requests per second"), Goal::None, "/s", rate),
        Row::new("list-leads: CPU time per request", Goal::None, "ms", cpu),
    ]
}

/// All of them in a table.
fn side_by_side(contenders: &[(Contender, Measured)]) -> String {
    let median = |values: &[f64]| short(Summary::of(values).median);
    let cells = contenders.iter().map(|(contender, measured)| {
        let Summary { lowest, highest, .. } = Summary::of(&measured.rates);
        vec![
            contender.name().to_owned(),
            median(&measured.rates),
            format!("{} to {}", short(lowest), short(highest)),
            median(&measured.p50s),
            median(&measured.p99s),
            median(&measured.cpu),
            median(&measured.of_postgres),
            median(&measured.of_load),
        ]
    });
    let head =
        ["", "requests/s", "spread", "p50 ms", "p99 ms", "CPU ms per request", "PostgreSQL's", "the load's"];
    table(&head, &cells.collect::<Vec<_>>())
}

fn bars(contenders: &[(Contender, Measured)], values: fn(&Measured) -> &Vec<f64>) -> Vec<Bar> {
    let bar = |(contender, measured): &(Contender, Measured)| Bar {
        label: contender.name().to_owned(),
        value: Summary::of(values(measured)).median,
        is_ours: matches!(contender, Contender::Ours { .. }),
    };
    contenders.iter().map(bar).collect()
}
