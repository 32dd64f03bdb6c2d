//! `cargo dev bench`: the functions beside the database's own limit and beside other frameworks.
#![expect(clippy::print_stdout, reason = "the table is what was asked for")]
mod bench;
mod callers;
mod database;
mod environment;
mod event;
mod figures;
mod http;
mod instructions;
mod load;
mod peers;
mod plot;
mod process;
mod report;
mod sandbox;
mod statistics;
mod wire;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, Result};
use bench::{BIG, Bench, FULL, QUICK};
use clap::Parser;
use dev::progress::Step;
use figures::{
    cold_start, cost, footprint, growth, one_sandbox, pooled, round_trips, throughput, verification,
};
use report::Section;

/// Measures the functions beside their peers and writes docs/performance/
#[derive(Parser)]
#[command(name = "cargo dev bench", bin_name = "cargo dev bench")]
struct Arguments {
    /// With ten million leads, too: 30 GB of disk, and half an hour to fill it once
    #[arg(long, conflicts_with = "quick")]
    big: bool,
    /// A check within a minute that everything runs: its report goes to target/bench/quick and means nothing
    #[arg(long)]
    quick: bool,
    /// Only the figures with this in their name; the report goes to target/bench/part
    #[arg(long)]
    only: Option<String>,
    /// Instructions per request alone, beside those of docs/performance/instructions.json: ends with 1 when a function
    /// takes 5 % more, and with 69 where there is no valgrind
    #[arg(long, conflicts_with_all = ["big", "quick", "only"])]
    instructions: bool,
    /// Replaces the committed counts by what is counted now
    #[arg(long, requires = "instructions")]
    accept: bool,
}

fn main() -> ExitCode {
    // One thread, so that the load takes as little CPU time as possible from what it measures.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime.context("start").and_then(|runtime| runtime.block_on(run(&Arguments::parse())));
    done.unwrap_or_else(|error| {
        eprintln!("cargo dev bench: {error:#}");
        ExitCode::FAILURE
    })
}

async fn run(arguments: &Arguments) -> Result<ExitCode> {
    if arguments.instructions {
        return instructions::count(arguments.accept).await;
    }
    let effort = match arguments {
        Arguments { quick: true, .. } => QUICK,
        Arguments { big: true, .. } => BIG,
        _ => FULL,
    };
    let bench = Bench::set_up(effort).await?;
    peers::fetch_all(&bench);
    let started = Instant::now();
    let mut sections = Vec::new();
    macro_rules! measure {
        ($($name:literal: $figure:ident),* $(,)?) => {$(
            if arguments.only.as_ref().is_none_or(|only| $name.contains(only.as_str())) {
                let step = Step::begin($name);
                sections.push($figure::measure(&bench).await.context($name)?);
                step.done($name);
            }
        )*};
    }
    measure! {
        "the list beside its peers": throughput,
        "one sandbox beside pgbench": one_sandbox,
        "round trips": round_trips,
        "cold start": cold_start,
        "memory and size": footprint,
        "growth": growth,
        "token verification": verification,
        "behind PgBouncer": pooled,
        "cost": cost,
    }
    // The report's readers do not know this machine's folders.
    let (target, workspace) = (dev::target(), dev::workspace());
    for reason in sections.iter_mut().flat_map(|section| &mut section.skipped) {
        *reason = reason.replace(&*target.to_string_lossy(), "target");
        *reason = reason.replace(&format!("{}/", workspace.display()), "");
    }
    let folder = match arguments {
        Arguments { only: Some(_), .. } => bench.folder.join("part"),
        Arguments { quick: true, .. } => bench.folder.join("quick"),
        _ => dev::workspace().join("docs/performance"),
    };
    let preamble = preamble(&bench, started.elapsed().as_secs())?;
    write(&folder, &preamble, &sections)
        .with_context(|| format!("write the report to {}", folder.display()))?;
    print!("\n{}", report::lines(&sections));
    println!("\nThe report is {}.", folder.join("report.md").display());
    Ok(ExitCode::SUCCESS)
}

fn write(folder: &PathBuf, preamble: &str, sections: &[Section]) -> Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join("report.md"), report::markdown(preamble, sections))?;
    fs::write(folder.join("report.json"), serde_json::to_string_pretty(&report::json(sections))? + "\n")?;
    for plot in sections.iter().flat_map(|section| &section.plots) {
        fs::write(folder.join(plot.file), plot::svg(plot)?)?;
    }
    Ok(())
}

/// When, on what and how the figures were measured.
fn preamble(bench: &Bench, seconds: u64) -> Result<String> {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let models = cpus.lines().filter_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = models.clone().next().map_or("a CPU", |(_, model)| model);
    let commit =
        Command::new("git").args(["rev-parse", "--short", "HEAD"]).current_dir(dev::workspace()).output();
    let commit =
        commit.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    let size = bench.size();
    Ok(format!(
        "Written by `cargo dev bench` on {}, commit {commit}, in {} minutes, on {} CPUs ({model}) with PostgreSQL {}: {} leads \
         with three messages each, {} dealerships. Figures are medians of {} rounds in which the contenders took turns; the \
         spread is from the lowest round to the highest.\n",
        jiff::Timestamp::now().strftime("%F"),
        seconds.div_ceil(60),
        models.count(),
        bench.cluster.binaries().version(),
        size.leads,
        size.dealerships,
        bench.effort.rounds,
    ))
}
