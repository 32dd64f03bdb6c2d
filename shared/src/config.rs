//! Settings, from the environment or from AWS Secrets Manager.
use std::collections::HashMap;
use std::fmt;

use thiserror::Error;
use tokio::sync::{Mutex, OnceCell};

use crate::chain::chain;
use crate::secrets;

/// The suffix for a setting whose value is in a secret: `DATABASE_URL_READER_SECRET_ARN` names the secret that holds
/// `DATABASE_URL_READER`.
const SECRET_SUFFIX: &str = "_SECRET_ARN";

/// Why a function cannot start. Its debug form is as readable as its display form, since `main` prints it.
#[derive(Error)]
pub enum StartupError {
    /// A setting is neither in the environment nor in a secret.
    #[error("set {0}, or {0}_SECRET_ARN to the secret that holds it")]
    Missing(&'static str),
    /// A setting cannot be used. The text says why and never quotes the value.
    #[error("{0} cannot be used: {1}")]
    Invalid(&'static str, String),
    /// Secrets Manager did not return the secret.
    #[error("the secret of {name} cannot be read")]
    Secret {
        /// The setting.
        name: &'static str,
        /// The error of the AWS SDK.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The Lambda runtime ended.
    #[error("the Lambda runtime stopped")]
    Runtime(#[source] lambda_http::Error),
}

impl fmt::Debug for StartupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&chain(self))
    }
}

/// The settings. Each is a variable `NAME`, or the secret that `NAME_SECRET_ARN` names. An empty variable counts as not
/// set. A secret is fetched once and kept; [`Settings::refresh`] fetches it again.
pub struct Settings {
    variables: HashMap<String, String>,
    secrets: Mutex<HashMap<&'static str, String>>,
    client: OnceCell<aws_sdk_secretsmanager::Client>,
}

impl Settings {
    /// The settings of this process.
    #[must_use]
    pub fn from_env() -> Self {
        Self::from_variables(std::env::vars())
    }

    /// The settings in `variables`, for a test, which has no environment of its own.
    pub fn from_variables(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let variables = variables.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        Self { variables, secrets: Mutex::default(), client: OnceCell::new() }
    }

    /// The value of `name`, which must be set.
    ///
    /// # Errors
    /// [`StartupError::Missing`] when it is not, [`StartupError::Secret`] when its secret cannot be read.
    pub async fn required(&self, name: &'static str) -> Result<String, StartupError> {
        self.optional(name).await?.ok_or(StartupError::Missing(name))
    }

    /// The value of `name`, if it is set.
    ///
    /// # Errors
    /// [`StartupError::Secret`] when its secret cannot be read.
    pub async fn optional(&self, name: &'static str) -> Result<Option<String>, StartupError> {
        if let Some(value) = self.variables.get(name) {
            return Ok(Some(value.clone()));
        }
        if !self.is_secret(name) {
            return Ok(None);
        }
        self.secret(name, None).await.map(Some)
    }

    /// Whether `name` is in a secret, whose value may be rotated while the function runs.
    #[must_use]
    pub fn is_secret(&self, name: &str) -> bool {
        !self.variables.contains_key(name) && self.variables.contains_key(&format!("{name}{SECRET_SUFFIX}"))
    }

    /// The secret of `name`, fetched again if the cache still has the `refused` value: for a password that the database
    /// refuses. Of several callers at once, one fetches it and all get it.
    ///
    /// # Errors
    /// [`StartupError::Missing`] when `name` is in no secret, [`StartupError::Secret`] when it cannot be read.
    pub async fn refresh(&self, name: &'static str, refused: &str) -> Result<String, StartupError> {
        self.secret(name, Some(refused)).await
    }

    async fn secret(&self, name: &'static str, refused: Option<&str>) -> Result<String, StartupError> {
        // Locked until the end, so that other callers wait for this fetch.
        let mut secrets = self.secrets.lock().await;
        if let Some(value) = secrets.get(name).filter(|value| Some(value.as_str()) != refused) {
            return Ok(value.clone());
        }
        let arn = self.variables.get(&format!("{name}{SECRET_SUFFIX}")).ok_or(StartupError::Missing(name))?;
        let client = self.client.get_or_try_init(async || secrets::client(&self.variables)).await;
        let client = client.map_err(|error| StartupError::Secret { name, source: error.into() })?;
        let secret = client.get_secret_value().secret_id(arn).send().await;
        let secret = secret.map_err(|error| StartupError::Secret { name, source: error.into() })?;
        let value = secret
            .secret_string
            .ok_or_else(|| StartupError::Invalid(name, "its secret is not text".into()))?;
        secrets.insert(name, value.clone());
        Ok(value)
    }
}
