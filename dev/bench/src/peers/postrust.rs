//! postrust: a PostgREST in Rust.
use std::process::Command;

use anyhow::{Result, ensure};
use shared::db::Login;

use super::{Bench, POOL_SIZE, Plan, fetched, free_port, get};
use crate::database;

const VERSION: &str = "3.1.0";

/// The view and the function that it needs in the database.
pub(super) const SCHEMA: &str = include_str!("../../peers/postrust.sql");

pub(super) fn plan(bench: &Bench) -> Result<Plan> {
    let is_there = bench.folder.join("peers/postrust/complete").exists();
    ensure!(is_there || bench.effort.compiles_peers, "it takes minutes to compile, which --quick does not");
    let folder = fetched(bench, "postrust", |folder| {
        let mut install = Command::new(dev::environment::variable("CARGO").unwrap_or_else(|| "cargo".into()));
        install.args(["install", "postrust-server", "--version", VERSION, "--root"]).arg(folder);
        // Our own build's settings are not for it.
        install.env_remove("RUSTFLAGS").env_remove("CARGO_TARGET_DIR");
        vec![install]
    })?;
    let port = free_port()?;
    let settings = [
        ("PGRST_DB_URI", database::url(Login::Reader, bench.cluster.port(), bench.size().name)),
        ("PGRST_DB_SCHEMAS", "postrust".to_owned()),
        ("PGRST_DB_EXTRA_SEARCH_PATH", "public".to_owned()),
        // Our tokens name no database role, so every request with a good token runs as this user.
        ("PGRST_DB_ANON_ROLE", Login::Reader.user().to_owned()),
        ("PGRST_DB_PRE_REQUEST", "postrust.enter".to_owned()),
        ("PGRST_DB_POOL", POOL_SIZE.to_owned()),
        ("PGRST_DB_CHANNEL_ENABLED", "false".to_owned()),
        ("PGRST_JWT_SECRET", bench.clerk.jwks().to_string()),
        ("PGRST_JWT_CACHE_ENABLED", "false".to_owned()),
        ("PGRST_SERVER_HOST", "127.0.0.1".to_owned()),
        ("PGRST_SERVER_PORT", port.to_string()),
        ("PGRST_LOG_LEVEL", "error".to_owned()),
    ];
    Ok(Plan {
        name: "postrust",
        note: "postrust 3.1.0, its own SQL over a view, the gate as its pre-request function, its cache of verified tokens off; \
               it checks the signature and the times, neither issuer nor authorized party",
        target: get(port, "/api/leads?order=created_at.desc,id.desc&limit=50"),
        rows: "",
        command: vec![folder.join("bin/postrust")],
        environment: settings.map(|(name, value)| (name.to_owned(), value)).into(),
        folder,
    })
}
