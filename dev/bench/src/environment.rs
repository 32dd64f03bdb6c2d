//! The settings of the functions, as `.env.example` names them.
use dev::state::ORIGIN;
use shared::db::Login;

use crate::database;

/// The secret that signs Clerk's webhooks, of the benchmark alone.
pub(crate) const WEBHOOK_SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// Whether connections keep prepared statements, which they cannot behind a pooler in transaction mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Statements {
    Prepared,
    Unprepared,
}

/// The settings of a function with its database at this port of the machine.
pub(crate) fn functions(
    issuer: &str,
    port: u16,
    name: &str,
    statements: Statements,
) -> Vec<(String, String)> {
    let mut settings = vec![
        ("CLERK_ISSUER", issuer.to_owned()),
        ("CLERK_JWKS_URL", format!("{issuer}/.well-known/jwks.json")),
        ("CLERK_AUTHORIZED_PARTIES", ORIGIN.to_owned()),
        ("DATABASE_PREPARED", (statements == Statements::Prepared).to_string()),
        ("CLERK_WEBHOOK_SECRETS", WEBHOOK_SECRET.to_owned()),
        ("FORM_SECRETS", "0123456789abcdef0123456789abcdef".to_owned()),
        ("FORM_URL", "https://forms.norvalt.test".to_owned()),
    ];
    settings.extend(Login::ALL.map(|login| (login.setting(), database::url(login, port, name))));
    settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
