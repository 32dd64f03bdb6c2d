//! The statements of a function, as text for psql.
use anyhow::{Context, Result};
use clap::Args;
use registry::Function;
use shared::Caller;

use crate::people::{KARI, TESLA_OSLO};

/// What the export's cursor is declared with; a prepared statement is the query alone.
const CURSOR: &str = "declare streamed no scroll cursor for";

/// Which function.
#[derive(Args, Debug)]
pub struct SqlOf {
    /// Its name, such as list-leads
    pub function: String,
}

/// Every statement of a function as `prepare … as …;`, after the lines that say how to run it.
///
/// # Errors
/// When there is no such function.
pub fn statements(of: &SqlOf) -> Result<String> {
    let mut functions = registry::functions().map(|(_, function)| function);
    let function = functions.find(|function| function.name() == of.function);
    let function = function.with_context(|| format!("there is no function {}", of.function))?;
    let Some(login) = function.login() else { return Ok(format!("-- {} runs no SQL.\n", of.function)) };
    let user = login.user().trim_start_matches("norvalt_");
    let mut text = format!("-- Paste it into `cargo dev psql --as {user}`; then `execute` a statement.\n");
    if let Function::Route(endpoint) = function
        && endpoint.route.caller == Caller::Member
    {
        let (org, person) = (TESLA_OSLO.clerk_org_id, KARI.clerk_user_id);
        text += "-- Only a scope shows rows:\n";
        text += &format!(
            "-- begin; select scope.enter_member('{org}', '{person}', 'admin', extract(epoch from now())::bigint);\n"
        );
    }
    for (name, sql) in function.statements() {
        text += &format!("\n{}\n", prepare(name, sql));
    }
    Ok(text)
}

/// A statement under its name.
#[must_use]
pub fn prepare(name: &str, sql: &str) -> String {
    let sql = sql.trim();
    let query = sql.strip_prefix(CURSOR).unwrap_or(sql).trim_start();
    format!("prepare {name} as\n{query};")
}
