//! What the local stack keeps between runs, under `target/dev`.
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use shared::db::Login;
use uuid::Uuid;

use crate::clerk::backend::SECRET_KEY;
use crate::environment;

/// The database of the local stack.
pub const DATABASE: &str = "norvalt";

/// The origin of the front end that local tokens are for.
pub const ORIGIN: &str = "http://localhost:3000";

/// The settings of Cloudflare's captcha, which are taken from the environment of `cargo dev`.
const TURNSTILE: [&str; 3] = ["TURNSTILE_SITE_KEY", "TURNSTILE_SECRET_KEY", "TURNSTILE_URL"];

/// The folder of the state, the cluster and the logs: `NORVALT_STATE`, for a run whose data is its own.
#[must_use]
pub fn folder() -> PathBuf {
    environment::variable("NORVALT_STATE").map_or_else(|| crate::target().join("dev"), PathBuf::from)
}

/// Ports, which stay the same until another program takes them, and secrets made at random on the first run.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct State {
    /// Where the functions answer.
    pub port: u16,
    /// Where Clerk's stand-in answers.
    pub clerk_port: Option<u16>,
    /// Where PostgreSQL answers.
    pub postgres_port: Option<u16>,
    /// The password of PostgreSQL's owner.
    pub owner_password: String,
    /// The password of every login user: one machine, one developer.
    pub login_password: String,
    /// The secret that signs Clerk's webhooks.
    pub webhook_secret: String,
    /// What the time of a form is signed with.
    #[serde(default = "secret")]
    pub form_secret: String,
}

impl State {
    /// The state of the last run.
    pub fn load() -> Result<Self> {
        let text = fs::read_to_string(Self::file())
            .context("there is no local stack yet: start it with `cargo dev`")?;
        let damaged = || format!("{} is damaged: `cargo dev --fresh` starts over", Self::file().display());
        serde_json::from_str(&text).with_context(damaged)
    }

    /// The state of the last run, or on the first run a new one.
    pub fn load_or_create(port: u16) -> Result<Self> {
        let state = if Self::file().exists() { Self::load()? } else { Self::create() };
        Ok(Self { port, ..state })
    }

    fn create() -> Self {
        let webhook_key = [Uuid::new_v4().into_bytes(), Uuid::new_v4().into_bytes()].concat();
        Self {
            port: 0,
            clerk_port: None,
            postgres_port: None,
            owner_password: secret(),
            login_password: secret(),
            form_secret: secret(),
            webhook_secret: format!("whsec_{}", STANDARD.encode(webhook_key)),
        }
    }

    /// Keeps the state, readable for us alone.
    pub fn save(&self) -> Result<()> {
        let new = folder().join("state.json.new");
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new);
        let written =
            file.and_then(|mut file| file.write_all(serde_json::to_string_pretty(self)?.as_bytes()));
        written
            .and_then(|()| fs::rename(&new, Self::file()))
            .with_context(|| format!("write {}", Self::file().display()))
    }

    fn file() -> PathBuf {
        folder().join("state.json")
    }

    /// The issuer of local tokens.
    #[must_use]
    pub fn clerk_issuer(&self) -> String {
        format!("http://127.0.0.1:{}", self.clerk_port.unwrap_or_default())
    }

    /// Where the owner of the database, who is superuser here, reaches it.
    #[must_use]
    pub fn owner_url(&self) -> String {
        self.url("norvalt_owner", &self.owner_password)
    }

    /// Where a login user reaches the database.
    #[must_use]
    pub fn login_url(&self, login: Login) -> String {
        self.url(login.user(), &self.login_password)
    }

    fn url(&self, user: &str, password: &str) -> String {
        let port = self.postgres_port.unwrap_or_default();
        format!("postgres://{user}:{password}@127.0.0.1:{port}/{DATABASE}?sslmode=disable")
    }

    /// The environment of the functions: what `.env.example` describes.
    #[must_use]
    pub fn functions_environment(&self) -> Vec<(&'static str, String)> {
        let issuer = self.clerk_issuer();
        let mut variables = vec![
            ("CLERK_JWKS_URL", format!("{issuer}/.well-known/jwks.json")),
            ("CLERK_ISSUER", issuer),
            ("CLERK_AUTHORIZED_PARTIES", ORIGIN.to_owned()),
            ("DATABASE_PREPARED", "true".to_owned()),
            ("CLERK_WEBHOOK_SECRETS", self.webhook_secret.clone()),
            ("FORM_SECRETS", self.form_secret.clone()),
            ("CLERK_API_URL", self.clerk_issuer()),
            ("CLERK_SECRET_KEY", SECRET_KEY.to_owned()),
            ("FORM_URL", format!("http://127.0.0.1:{}", self.port)),
        ];
        variables.extend(TURNSTILE.into_iter().filter_map(|name| Some((name, environment::text(name)?))));
        variables.extend(Login::ALL.map(|login| (login.setting(), self.login_url(login))));
        variables
    }

    /// The environment of someone who works with the stack.
    #[must_use]
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let mut variables = vec![("BASE_URL", format!("http://127.0.0.1:{}", self.port))];
        variables.extend(self.functions_environment());
        variables.push(("DATABASE_URL_OWNER", self.owner_url()));
        variables
    }
}

/// 122 random bits.
fn secret() -> String {
    Uuid::new_v4().simple().to_string()
}

/// The right to be the one running stack; the kernel takes it back when we end, however we end.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "the open file is the lock")] File);

impl Lock {
    /// Takes the lock, or says who has it.
    pub fn take(port: u16) -> Result<Self> {
        let (mut file, locked) = try_lock()?;
        if !locked {
            let mut holder = String::new();
            file.read_to_string(&mut holder)?;
            bail!("the stack is already running: {holder}. Stop it there with Ctrl-C");
        }
        file.set_len(0)?;
        file.rewind()?;
        write!(file, "process {} serves port {port}", std::process::id())?;
        Ok(Self(file))
    }

    /// Whether a stack is running.
    pub fn is_taken() -> Result<bool> {
        Ok(!try_lock()?.1)
    }
}

fn try_lock() -> Result<(File, bool)> {
    fs::create_dir_all(folder()).with_context(|| format!("create {}", folder().display()))?;
    let path = folder().join("lock");
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let file = file.with_context(|| format!("open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok((file, true)),
        Err(TryLockError::WouldBlock) => Ok((file, false)),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("lock {}", path.display())),
    }
}
