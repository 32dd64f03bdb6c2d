//! Cloudflare Turnstile, verified on the server.
use std::time::Duration;

use reqwest::{Client, Url};
use serde::Deserialize;
use serde_json::json;
use shared::config::{Settings, StartupError};
use shared::outbound;
use uuid::Uuid;

/// For the whole request. A slow provider counts as unavailable: the submission that it should have judged is held.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Characters of a token, by Cloudflare's documentation.
const MAX_TOKEN_CHARS: usize = 2048;
/// The largest answer read, in bytes; Cloudflare's have some hundred.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// Where the provider is unless `TURNSTILE_URL` says otherwise.
const DEFAULT_URL: &str = "https://challenges.cloudflare.com/turnstile/v0/siteverify";
/// The name of our snippet's widget. A token of another widget on the same site does not count.
const ACTION: &str = "norvalt-form";

/// The provider, and the secret to ask it with.
pub struct Captcha {
    url: Url,
    secret: String,
    client: Client,
}

/// What the provider says of the sender.
pub(crate) enum Verdict {
    /// No token was sent, or the deployment has no Turnstile.
    Absent,
    /// A person, whose browser was at this host.
    Passed(String),
    /// The token is forged, has expired or was used before.
    Failed,
    /// The provider gave no verdict.
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
struct SiteverifyAnswer {
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
    /// When the secret cannot be read, or the URL is one that anybody on the way could answer.
    pub async fn read(settings: &Settings) -> Result<Option<Self>, StartupError> {
        let Some(secret) = settings.optional("TURNSTILE_SECRET_KEY").await? else { return Ok(None) };
        let invalid = |reason: String| StartupError::Invalid("TURNSTILE_URL", reason);
        let url = settings.optional("TURNSTILE_URL").await?;
        let url = outbound::url(url.as_deref().unwrap_or(DEFAULT_URL))
            .ok_or_else(|| invalid("not an https:// URL (http:// is for this machine)".to_owned()))?;
        let client = outbound::client(TIMEOUT).build().map_err(|error| invalid(error.to_string()))?;
        Ok(Some(Self { url, secret, client }))
    }

    /// The provider's answer; none when it is down, refuses the question, or answers with something else.
    async fn ask(&self, token: &str) -> Option<SiteverifyAnswer> {
        // With the key the same token may be asked about again: a retry is not a second use.
        let question = json!({ "secret": self.secret, "response": token, "idempotency_key": Uuid::now_v7() });
        let response = self.client.post(self.url.clone()).json(&question).send().await.ok()?;
        let response = response.error_for_status().ok()?;
        let body = outbound::body(response, MAX_ANSWER_BYTES).await.ok()??;
        serde_json::from_slice(&body).ok()
    }
}

/// Asks the provider once about the token, if there is one.
pub(crate) async fn verify(captcha: Option<&Captcha>, token: Option<&str>) -> Verdict {
    let (Some(captcha), Some(token)) = (captcha, token) else { return Verdict::Absent };
    if token.chars().count() > MAX_TOKEN_CHARS {
        return Verdict::Failed;
    }
    match captcha.ask(token).await {
        Some(answer) if answer.success && answer.action == ACTION => Verdict::Passed(answer.hostname),
        // A fault of ours or theirs says nothing about the sender.
        Some(answer) if !answer.success && answer.error_codes.iter().any(|code| is_no_verdict(code)) => {
            Verdict::Unavailable
        }
        Some(_) => Verdict::Failed,
        None => Verdict::Unavailable,
    }
}

fn is_no_verdict(code: &str) -> bool {
    matches!(code, "internal-error" | "missing-input-secret" | "invalid-input-secret" | "bad-request")
}
