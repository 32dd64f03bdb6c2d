//! The passwords of the login users. Migrations create the users without a password; each deployment sets them.
use postgres_protocol::password::scram_sha_256;
use shared::config::StartupError;
use shared::db::{Login, parse_url};
use tokio_postgres::Client;

use crate::MigrateError;

/// A role's password cannot be a statement's parameter: the setting carries it, and the server does the quoting.
const ALTER: &str = "do $$ begin
    execute format('alter role %I password %L', current_setting('norvalt.login'), current_setting('norvalt.verifier'));
end $$";

/// The password in a login's connection URL or RDS secret, which must name the login's user.
///
/// # Errors
/// When it is neither, names another user or has no password; the text never quotes it.
pub fn password_in(login: Login, url: &str) -> Result<String, StartupError> {
    let invalid = |why: &str| StartupError::Invalid(login.setting(), why.to_owned());
    let config = parse_url(login.setting(), url)?;
    // A pooler such as Supavisor wants the tenant behind the user: norvalt_reader.tenant.
    if config.get_user().and_then(|user| user.split('.').next()) != Some(login.user()) {
        return Err(invalid(&format!("it has to log in as {}", login.user())));
    }
    let password = config.get_password().and_then(|password| String::from_utf8(password.to_owned()).ok());
    password.ok_or_else(|| invalid("it has no password"))
}

/// Sets the passwords as the owner, who created the login users. It sends SCRAM verifiers, so neither the network nor
/// the server's log sees a password.
///
/// # Errors
/// [`MigrateError`]; then all stay as they were.
pub async fn set_passwords(owner: &mut Client, passwords: &[(Login, String)]) -> Result<(), MigrateError> {
    let transaction = owner.transaction().await?;
    for (login, password) in passwords {
        let verifier = scram_sha_256(password.as_bytes());
        let settings =
            "select set_config('norvalt.login', $1, true), set_config('norvalt.verifier', $2, true)";
        transaction.execute(settings, &[&login.user(), &verifier]).await?;
        transaction.batch_execute(ALTER).await?;
    }
    Ok(transaction.commit().await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_string_of_another_user_is_refused() {
        let password = |url| password_in(Login::Reader, url).map_err(|error| error.to_string());
        assert_eq!(password("postgres://norvalt_reader:s3cret@db/norvalt"), Ok("s3cret".to_owned()));
        assert_eq!(password("postgres://norvalt_reader.tenant:s3cret@pool/norvalt"), Ok("s3cret".to_owned()));
        for url in
            ["postgres://norvalt_writer:s3cret@db/norvalt", "postgres://norvalt_reader@db/norvalt", "s3cret"]
        {
            let error = password(url).unwrap_err();
            assert!(error.starts_with("DATABASE_URL_READER") && !error.contains("s3cret"), "{error}");
        }
    }
}
