//! The database users that functions log in as. Migrations make them without a password; here they get one.
use anyhow::{Context, Result, ensure};
use postgres_protocol::password::scram_sha_256;
use shared::db::Login;
use tokio_postgres::{Client, Config};

use crate::environment;

/// The password inside the connection URL, or RDS secret, that a deployment gives to a login, whose user it must name.
pub fn password_in(login: Login, url: &str) -> Result<String> {
    let (variable, user) = (login.setting(), login.user());
    // The parsers' messages may quote the text, password included.
    let unusable = || format!("{variable} is neither a connection URL nor an RDS secret");
    let (named, password) = parse(url).with_context(unusable)?;
    // A pooler such as Supavisor wants the tenant behind the user: norvalt_reader.tenant.
    ensure!(named.split('.').next() == Some(user), "{variable} has to log in as {user}");
    password.with_context(|| format!("{variable} has no password"))
}

fn parse(url: &str) -> Option<(String, Option<String>)> {
    if url.trim_start().starts_with('{') {
        let secret: serde_json::Value = serde_json::from_str(url).ok()?;
        let text = |name| secret.get(name).and_then(serde_json::Value::as_str).map(str::to_owned);
        return Some((text("username")?, text("password")));
    }
    let config: Config = url.parse().ok()?;
    let password = config.get_password().map(|password| String::from_utf8(password.to_owned()));
    Some((config.get_user()?.to_owned(), password.transpose().ok()?))
}

/// The logins whose connection strings are in the environment, with the passwords in them.
pub fn from_environment() -> Result<Vec<(Login, String)>> {
    let urls = Login::ALL.into_iter().filter_map(|login| Some((login, environment::text(login.setting())?)));
    urls.map(|(login, url)| Ok((login, password_in(login, &url)?))).collect()
}

/// A role's password cannot be a statement's parameter: the setting carries it, and the server does the quoting.
const ALTER: &str = "do $$ begin
    execute format('alter role %I password %L', current_setting('norvalt.login'), current_setting('norvalt.verifier'));
end $$";

/// Sets passwords, as verifiers made here: neither the network nor the server's log ever sees a password.
pub async fn set_passwords(owner: &mut Client, passwords: &[(Login, String)]) -> Result<()> {
    let transaction = owner.transaction().await?;
    for (login, password) in passwords {
        let verifier = scram_sha_256(password.as_bytes());
        let settings =
            "select set_config('norvalt.login', $1, true), set_config('norvalt.verifier', $2, true)";
        transaction.execute(settings, &[&login.user(), &verifier]).await?;
        let altered = transaction.batch_execute(ALTER).await;
        altered.with_context(|| format!("set the password of {}", login.user()))?;
    }
    transaction.commit().await.context("set passwords")
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
