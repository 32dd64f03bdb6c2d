//! More sandboxes than connections: sixty-four behind a PgBouncer with twenty.
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use dev::postgres::free_port;
use dev::supervised::{Program, Supervised};
use futures_util::future::try_join_all;
use shared::db::Login;

use crate::bench::{Bench, drive};
use crate::database;
use crate::event;
use crate::report::{Goal, Row, Section};
use crate::statistics::{Summary, short};

const SANDBOXES: usize = 64;
const POOL: usize = 20;
/// The 99th percentile, in times the median.
const TAIL_GOAL: f64 = 4.0;
/// The longest that PgBouncer may take to accept connections.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// The user that PgBouncer runs as where we are root: it refuses to run as root.
const NOBODY: u32 = 65534;

pub(crate) async fn measure(bench: &Bench) -> Result<Section> {
    let title = "More sandboxes than connections";
    let (port, _pgbouncer) = match start(bench).await {
        Ok(started) => started,
        Err(error) => {
            let skipped = vec![format!("{SANDBOXES} sandboxes behind PgBouncer ({error:#})")];
            return Ok(Section { title, skipped, ..Section::default() });
        }
    };
    let events = event::list("", &bench.callers)?;
    let starts = (0..SANDBOXES).map(|_| bench.unprepared_sandbox("list-leads", port));
    let mut sandboxes = try_join_all(starts).await?;
    drive(&mut sandboxes, &events, bench.effort.warm_up).await.context("warm up")?;
    let (mut p50s, mut tails, mut rates, mut errors) = (Vec::new(), Vec::new(), Vec::new(), 0.0);
    for _ in 0..bench.effort.rounds {
        // A round ends with its first error.
        match drive(&mut sandboxes, &events, bench.effort.round).await {
            Ok(load) => {
                p50s.push(load.quantile(0.5));
                tails.push(load.quantile(0.99) / load.quantile(0.5));
                rates.push(load.rate());
            }
            Err(error) => {
                dev::progress::warn(&format!("behind PgBouncer: {error:#}"));
                errors += 1.0;
            }
        }
    }
    let name = |figure: &str| format!("{SANDBOXES} sandboxes, {POOL} connections by PgBouncer: {figure}");
    let rows = vec![
        Row::once(name("rounds with an error"), Goal::AtMost(0.0), "", errors),
        Row::new(name("p99, times p50"), Goal::AtMost(TAIL_GOAL), "×", Summary::of(&tails)),
        Row::new(name("p50"), Goal::None, "ms", Summary::of(&p50s)),
    ];
    let text = format!(
        "list-leads in {SANDBOXES} sandboxes at once, each with its connection to a PgBouncer in transaction mode, which has \
         {POOL} to PostgreSQL, and with statements without names, as such a pooler wants them: {} requests per second.\n",
        short(Summary::of(&rates).median)
    );
    Ok(Section { title, rows, text, ..Section::default() })
}

async fn start(bench: &Bench) -> Result<(u16, Supervised)> {
    let folders = dev::environment::path().into_iter().chain(["/usr/sbin".into()]);
    let program = folders.map(|folder| folder.join("pgbouncer")).find(|program| program.is_file());
    let program = program.context("there is none: install it, such as by `apt install pgbouncer`")?;
    let port = free_port()?;
    let folder = bench.folder.join("pgbouncer");
    fs::create_dir_all(&folder)?;
    // Removed first, because a file of an earlier run may have another owner.
    for (name, text) in [("pgbouncer.ini", configuration(bench, port)), ("users", users())] {
        let file = folder.join(name);
        let _ = fs::remove_file(&file);
        fs::write(&file, text)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644))?;
    }
    // Only root can change the owner, and only root has to.
    let is_root = chown(&folder, Some(NOBODY), Some(NOBODY)).is_ok();
    let mut pgbouncer = Program::new(program, &folder).args(["--quiet", "pgbouncer.ini"]);
    if is_root {
        pgbouncer = pgbouncer.args(["--user", "nobody"]);
    }
    let log = bench.logs().join("pgbouncer.log");
    pgbouncer.log = Some(fs::File::create(&log)?);
    let mut running = pgbouncer.start()?;
    let started = Instant::now();
    while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        ensure!(running.ended()?.is_none(), "it does not start; target/bench/logs/pgbouncer.log says why");
        ensure!(
            started.elapsed() < START_TIMEOUT,
            "it takes too long to start; see target/bench/logs/pgbouncer.log"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok((port, running))
}

fn configuration(bench: &Bench, port: u16) -> String {
    let (server, database) = (bench.cluster.port(), bench.size().name);
    format!(
        "[databases]\n{database} = host=127.0.0.1 port={server}\n\
         [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
         auth_type = plain\nauth_file = users\npool_mode = transaction\n\
         default_pool_size = {POOL}\nmax_client_conn = 200\nlog_connections = 0\nlog_disconnections = 0\n"
    )
}

fn users() -> String {
    Login::ALL.map(|login| format!("\"{}\" \"{}\"\n", login.user(), database::password())).concat()
}
