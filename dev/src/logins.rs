//! The database users that functions log in as, with the passwords that a deployment gives them.
use anyhow::Result;
use migrations::password_in;
use shared::db::Login;

use crate::environment;

/// The logins whose connection strings are in the environment, with the passwords in them.
pub fn from_environment() -> Result<Vec<(Login, String)>> {
    let urls = Login::ALL.into_iter().filter_map(|login| Some((login, environment::text(login.setting())?)));
    urls.map(|(login, url)| Ok((login, password_in(login, &url)?))).collect()
}
