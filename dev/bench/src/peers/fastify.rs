//! Fastify with node-postgres and jose.
use anyhow::Result;

use super::{Bench, Plan, environment, fetched, free_port, get, npm, put};

const PACKAGES: [&str; 3] = ["fastify@5.12.8", "pg@8.23.1", "jose@6.2.17"];

pub(super) fn plan(bench: &Bench) -> Result<Plan> {
    let folder = fetched(bench, "fastify", |folder| vec![npm(folder, &PACKAGES)])?;
    let port = free_port()?;
    Ok(Plan {
        name: "Fastify",
        note: "Fastify 5 with node-postgres, named prepared statements and jose; four statements one after the other",
        target: get(port, "/api/v1/leads"),
        rows: "/items",
        command: vec!["node".into(), put(&folder, "server.mjs", include_str!("../../peers/server.mjs"))?],
        environment: environment(bench, port),
        folder,
    })
}
