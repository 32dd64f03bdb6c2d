//! Cloudflare Turnstile, verified on the server.
use std::time::Duration;

use reqwest::{Client, redirect};
use serde::Deserialize;
use serde_json::json;
use shared::config::{Settings, StartupError};
use uuid::Uuid;

/// The whole request. A provider that is slow is down: what it should have judged is held.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Characters of a token, by Cloudflare's documentation.
const MAX_TOKEN_CHARS: usize = 2048;
const URL: &str = "https://challenges.cloudflare.com/turnstile/v0/siteverify";
/// What our snippet's widget is called; a token of another one on the same site does not count.
const ACTION: &str = "norvalt-form";

/// A way to ask the provider.
pub struct Captcha {
    url: String,
    secret: String,
    client: Client,
}

/// What is known of the sender.
pub(crate) enum Verdict {
    /// No token was sent, or the deployment has no Turnstile.
    Absent,
    /// A person, who was at this host.
    Passed(String),
    /// Not a good token: forged, expired, or used before.
    Failed,
    /// The provider cannot say.
    Unavailable,
}

impl Verdict {
    /// As `scope.receive_submission` spells it.
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Passed(_) => "passed",
            Self::Failed => "failed",
            Self::Unavailable => "unavailable",
        }
    }

    pub(crate) fn host(&self) -> Option<&str> {
        if let Self::Passed(host) = self { Some(host) } else { None }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Answer {
    success: bool,
    #[serde(default)]
    hostname: String,
    #[serde(default)]
    action: String,
    #[serde(default)]
    error_codes: Vec<String>,
}

impl Captcha {
    /// Reads `TURNSTILE_SECRET_KEY` and, where it is not Cloudflare's, `TURNSTILE_URL`.
    ///
    /// # Errors
    /// When the secret cannot be read.
    pub async fn read(settings: &Settings) -> Result<Option<Self>, StartupError> {
        let Some(secret) = settings.optional("TURNSTILE_SECRET_KEY").await? else { return Ok(None) };
        let url = settings.optional("TURNSTILE_URL").await?.unwrap_or_else(|| URL.to_owned());
        let client = Client::builder().timeout(TIMEOUT).redirect(redirect::Policy::none()).build();
        let client = client.map_err(|error| StartupError::Invalid("TURNSTILE_URL", error.to_string()))?;
        Ok(Some(Self { url, secret, client }))
    }

    async fn ask(&self, token: &str) -> Result<Answer, reqwest::Error> {
        // With the key the same token may be asked about again: a retry is not a second use.
        let question = json!({ "secret": self.secret, "response": token, "idempotency_key": Uuid::now_v7() });
        self.client.post(&self.url).json(&question).send().await?.error_for_status()?.json().await
    }
}

/// Asks once; nothing is asked without a token.
pub(crate) async fn verify(captcha: Option<&Captcha>, token: Option<&str>) -> Verdict {
    let (Some(captcha), Some(token)) = (captcha, token) else { return Verdict::Absent };
    if token.chars().count() > MAX_TOKEN_CHARS {
        return Verdict::Failed;
    }
    match captcha.ask(token).await {
        Ok(answer) if answer.success && answer.action == ACTION => Verdict::Passed(answer.hostname),
        // A fault of ours or theirs says nothing about the sender.
        Ok(answer) if !answer.success && answer.error_codes.iter().any(|code| is_no_verdict(code)) => {
            Verdict::Unavailable
        }
        Ok(_) => Verdict::Failed,
        Err(_) => Verdict::Unavailable,
    }
}

fn is_no_verdict(code: &str) -> bool {
    matches!(code, "internal-error" | "missing-input-secret" | "invalid-input-secret" | "bad-request")
}
