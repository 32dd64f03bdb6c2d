//! PostGraphile 5, on the Node.js that it needs.
use anyhow::{Context, Result};

use super::{Bench, Plan, environment, fetched, free_port, npm, put};
use crate::http::Target;

const PACKAGES: [&str; 3] = ["postgraphile@5.1.5", "pg@8.23.1", "jose@6.2.17"];
/// The package that holds the program for this machine; `node` itself only fetches it by an install script.
const NODE: &str = "22.23.3";

const QUERY: &str = "{ allLeads(first: 50, orderBy: [CREATED_AT_DESC, ROW_ID_DESC], condition: { deletedAt: null }) { nodes {
    id: rowId source status lostReason firstName lastName email phone phoneE164 company message vehicleId vehicleOfInterest
    assignedTo attribution consent firstHumanResponseAt firstAiResponseAt conversationCount createdAt updatedAt
    conversationsByDealershipIdAndLeadId(first: 1, orderBy: [CREATED_AT_DESC, ROW_ID_DESC]) { nodes {
        rowId direction channel authorKind body createdAt } } } } }";

pub(super) fn plan(bench: &Bench) -> Result<Plan> {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => anyhow::bail!("there is no Node.js package for {other}"),
    };
    let system = if cfg!(target_os = "macos") { "darwin" } else { "linux" };
    let node = format!("node-{system}-{architecture}");
    let folder = fetched(bench, "postgraphile", |folder| {
        vec![npm(folder, &[&PACKAGES[..], &[&format!("{node}@{NODE}")]].concat())]
    })?;
    put(&folder, "graphile.config.mjs", include_str!("../../peers/graphile.config.mjs"))?;
    let port = free_port()?;
    let body = serde_json::to_string(&serde_json::json!({ "query": QUERY })).context("write the query")?;
    Ok(Plan {
        name: "PostGraphile",
        note: "PostGraphile 5 (Amber preset), the page as one GraphQL query; asks the gate once per caller instead of in each \
               transaction",
        target: Target { port, method: hyper::Method::POST, path: "/graphql".to_owned(), body },
        rows: "/data/allLeads/nodes",
        command: vec![
            folder.join("node_modules").join(node).join("bin/node"),
            folder.join("node_modules/.bin/postgraphile"),
        ],
        environment: environment(bench, port),
        folder,
    })
}
