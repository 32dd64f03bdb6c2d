//! One sandbox beside the database's own limit: pgbench, which sends the same to PostgreSQL and does nothing else.
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dev::proxy::{Pass, Proxy};
use shared::db::Login;
use tokio::process::Command;

use crate::bench::{Bench, drive};
use crate::database;
use crate::event;
use crate::report::{Goal, Row, Section, table};
use crate::statistics::{Summary, quantile, short};
use crate::wire::last_transaction;

/// A sandbox's latency, in times pgbench's.
const GOAL: f64 = 2.0;

pub(crate) async fn measure(bench: &Bench) -> Result<Section> {
    let title = "One sandbox beside the database's limit";
    let Some(pgbench) = find(bench) else {
        let skipped = vec!["pgbench (install PostgreSQL's client programs)".to_owned()];
        return Ok(Section { title, skipped, ..Section::default() });
    };
    let events = event::list("", &bench.callers.first())?;
    let script = bench.folder.join("list-leads.pgbench");
    fs::write(&script, script_of(&statements_of_a_request(bench).await?))?;

    let mut prepared = [bench.sandbox("list-leads").await?];
    let mut unprepared = [bench.unprepared_sandbox("list-leads", bench.cluster.port()).await?];
    for sandbox in [&mut prepared, &mut unprepared] {
        drive(sandbox, &events, bench.effort.warm_up).await?;
    }
    let (mut ours, mut pooled, mut limit) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.effort.rounds {
        ours.push(drive(&mut prepared, &events, bench.effort.round).await?.quantile(0.5));
        pooled.push(drive(&mut unprepared, &events, bench.effort.round).await?.quantile(0.5));
        limit.push(run(&pgbench, &script, bench, bench.effort.round).await?);
    }
    let (ours, pooled, limit) = (Summary::of(&ours), Summary::of(&pooled), Summary::of(&limit));
    let rows = vec![
        Row::new(
            "list-leads, one sandbox: p50, times pgbench's",
            Goal::AtMost(GOAL),
            "×",
            ours.times(1.0 / limit.median),
        )
        .because("an invocation is two HTTP requests, verifies a signature and writes the JSON besides"),
        Row::new("list-leads, one sandbox: p50", Goal::None, "ms", ours),
        Row::new("list-leads, one sandbox, nothing prepared: p50", Goal::None, "ms", pooled),
        Row::new("pgbench, the same transaction pipelined: p50", Goal::None, "ms", limit),
    ];
    let cell = |name: &str, value: Summary| {
        vec![
            name.to_owned(),
            short(value.median),
            format!("{} to {}", short(value.lowest), short(value.highest)),
        ]
    };
    let text = format!(
        "{}\npgbench runs with `-M prepared` in one pipeline the transaction that list-leads was overheard to send, its values \
         written in, as the same user: it plans it once and reads nothing of the answer. With `DATABASE_PREPARED=true`, which \
         all other figures have but that behind PgBouncer, list-leads has its plan kept, too; without, as poolers in \
         transaction mode need it, PostgreSQL plans each request anew. list-leads' time is that of a whole \
         invocation, as Lambda bills it: from when the event is handed out until the answer is in, the token verified, the \
         JSON written.\n",
        table(
            &["", "p50 ms", "spread"],
            &[cell("list-leads", ours), cell("list-leads, nothing prepared", pooled), cell("pgbench", limit)]
        )
    );
    Ok(Section { title, rows, text, ..Section::default() })
}

/// pgbench beside the server's programs, or else on the search path.
fn find(bench: &Bench) -> Option<std::path::PathBuf> {
    let on_path = dev::environment::path().into_iter().map(|folder| folder.join("pgbench"));
    std::iter::once(bench.cluster.binaries().program("pgbench"))
        .chain(on_path)
        .find(|program| program.is_file())
}

/// The statements of one request, as PostgreSQL gets them.
async fn statements_of_a_request(bench: &Bench) -> Result<Vec<String>> {
    let proxy = Proxy::before(bench.cluster.port(), Pass::AtOnce).await?;
    let mut sandbox = bench.sandbox_at("list-leads", bench.size(), proxy.port()).await?;
    sandbox.invoke(event::list("", &bench.callers.first())?(0)).await?;
    let statements = last_transaction(&proxy.take_sent()).context("read what list-leads sends")?;
    ensure!(statements.len() >= 3, "list-leads sent no transaction: {statements:?}");
    Ok(statements)
}

fn script_of(statements: &[String]) -> String {
    let statements: String = statements.iter().map(|statement| format!("{statement};\n")).collect();
    format!("\\startpipeline\n{statements}\\endpipeline\n")
}

/// Its median latency in milliseconds.
async fn run(pgbench: &Path, script: &Path, bench: &Bench, lasting: Duration) -> Result<f64> {
    let logs = bench.folder.join("pgbench");
    let _ = fs::remove_dir_all(&logs);
    fs::create_dir_all(&logs)?;
    let seconds = lasting.as_secs().max(1).to_string();
    let output = Command::new(pgbench)
        .args(["--no-vacuum", "--protocol=prepared", "--client=1", "--log", "--time", &seconds, "--file"])
        .arg(script)
        .args(["--host=127.0.0.1", "--port", &bench.cluster.port().to_string()])
        .args(["--username", Login::Reader.user(), bench.size().name])
        .env("PGPASSWORD", database::password())
        .current_dir(&logs)
        .stdin(Stdio::null())
        .output()
        .await?;
    ensure!(output.status.success(), "pgbench: {}", String::from_utf8_lossy(&output.stderr));
    let mut latencies = Vec::new();
    for log in fs::read_dir(&logs)? {
        // client, transaction, microseconds, …
        let text = fs::read_to_string(log?.path())?;
        latencies.extend(text.lines().filter_map(|line| line.split(' ').nth(2)?.parse::<f64>().ok()));
    }
    ensure!(!latencies.is_empty(), "pgbench ran nothing: {}", String::from_utf8_lossy(&output.stderr));
    Ok(quantile(&latencies, 0.5) / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_sends_all_statements_at_once() {
        let script = script_of(&["begin".to_owned(), "commit".to_owned()]);
        assert_eq!(script, "\\startpipeline\nbegin;\ncommit;\n\\endpipeline\n");
    }
}
