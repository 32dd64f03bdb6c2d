//! The local stack's database: its server, its schema, its users' passwords and its sample data.
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use migrations::{migrate, set_passwords};
use shared::db::{Login, connect_as_owner};

use crate::postgres::{Binaries, Cluster, Options};
use crate::seed::{Seeded, seed};
use crate::state::{DATABASE, Lock, State, folder};

/// Where fetched programs are kept; `--fresh` leaves them alone.
#[must_use]
pub fn tools() -> PathBuf {
    crate::target().join("tools")
}

/// Starts the stack's own PostgreSQL, with the database in it, and notes its port in the state.
pub async fn start(binaries: Binaries, state: &mut State) -> Result<Arc<Cluster>> {
    let (port, owner_password) = (state.postgres_port, state.owner_password.clone());
    let options = Options { port, owner_password, ephemeral: false };
    // The server takes its time to start and to stop, and neither may hold up a Ctrl-C.
    let start = move || Cluster::start(&binaries, &folder().join("postgres"), options);
    let cluster = tokio::task::spawn_blocking(start).await??;
    cluster.create_database(DATABASE).await?;
    state.postgres_port = Some(cluster.port());
    state.save()?;
    Ok(Arc::new(cluster))
}

/// The database as the running stack has it, else started for as long as the second value is kept.
pub async fn reach() -> Result<(State, Option<Arc<Cluster>>)> {
    let mut state = State::load()?;
    if Lock::is_taken()? {
        return Ok((state, None));
    }
    let binaries = tokio::task::spawn_blocking(|| Binaries::find_or_fetch(&tools())).await??;
    let cluster = start(binaries, &mut state).await?;
    Ok((state, Some(cluster)))
}

/// Applies the migrations that are missing, gives the login users their passwords, and returns what was applied.
pub async fn bring_up_to_date(url: &str, passwords: &[(Login, String)]) -> Result<Vec<String>> {
    let applied = migrate(url).await.context("migrate")?;
    let (mut owner, _) = connect_as_owner(url).await?;
    set_passwords(&mut owner, passwords).await.context("set passwords")?;
    Ok(applied)
}

/// Every login user has the same password here.
#[must_use]
pub fn local_passwords(state: &State) -> Vec<(Login, String)> {
    Login::ALL.map(|login| (login, state.login_password.clone())).to_vec()
}

/// Puts the sample data in.
pub async fn fill(state: &State) -> Result<Seeded> {
    let (mut owner, _) = connect_as_owner(&state.owner_url()).await?;
    seed(&mut owner).await
}
