//! The settings of the functions, as `.env.example` names them.
use dev::state::ORIGIN;
use shared::db::Login;

use crate::database;

/// Signs Clerk's webhooks here, and opens nothing else.
pub(crate) const WEBHOOK_SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// Whether connections keep prepared statements: not behind a pooler in transaction mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Statements {
    Prepared,
    Unprepared,
}

/// What a function is started with, when its database is behind this port of the machine.
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
