//! `GET /webhooks/form/{dealership_id}/form.js`: the script of a dealership's form, with the signed time at which the
//! form is shown. A form works without it; with it the visitor stays on the page, and bots are recognized.
use intake::TokenKeys;
use serde::Serialize;
use shared::config::{Settings, StartupError};
use shared::docs::Media;
use shared::error::StatusCode;
use shared::{Answer, ApiError, Caller, Ctx, Front, Login, Operation, Route};

/// Its path, callers, login and statements.
pub const ROUTE: Route = Route {
    name: "form-script",
    path: "/webhooks/form/{dealership_id}/form.js",
    login: Login::Intake,
    caller: Caller::Public,
    front: Front::FormApi,
    settings: &["FORM_SECRETS", "TURNSTILE_SITE_KEY"],
    statements: &[&[("settings", SQL)]],
    ..Route::DEFAULT
};

/// A function of one argument, which is all that differs between answers.
const SCRIPT: &str = include_str!("form.js");

const SQL: &str = "select captcha_required from scope.form_settings()";

/// The settings that go into the script.
pub struct Config {
    /// The keys that sign the time.
    pub keys: TokenKeys,
    /// Cloudflare Turnstile's public key, if the deployment has it.
    pub captcha: Option<String>,
}

impl Config {
    /// Reads `FORM_SECRETS` and `TURNSTILE_SITE_KEY`.
    ///
    /// # Errors
    /// When a required setting is missing, or one is unusable.
    pub async fn read(settings: &Settings) -> Result<Self, StartupError> {
        let captcha = settings.optional("TURNSTILE_SITE_KEY").await?;
        Ok(Self { keys: TokenKeys::read(settings).await?, captcha })
    }
}

/// The script's argument. It is public.
#[derive(Serialize)]
struct ScriptArgument<'a> {
    token: String,
    /// Cloudflare Turnstile's public key; null if the dealership requires no captcha.
    captcha: Option<&'a str>,
}

/// The script; 404 for a dealership that takes no enquiries. Query parameters are ignored, since content systems add a
/// version.
pub async fn handle(ctx: &Ctx<'_>, config: &Config) -> Result<Answer, ApiError> {
    let dealership = ctx.path_id("dealership_id")?;
    let rows = ctx.intake(dealership).query(SQL, &[]).await?;
    let wants_captcha: bool = rows.first().ok_or_else(ApiError::not_found)?.try_get("captcha_required")?;

    let token = config.keys.sign(dealership, ctx.now());
    let captcha = config.captcha.as_deref().filter(|_| wants_captcha);
    let argument = serde_json::to_string(&ScriptArgument { token, captcha }).map_err(ApiError::internal)?;
    Ok(Answer::text("text/javascript; charset=utf-8", format!("({SCRIPT})({argument});\n")))
}

/// Inputs and answers, for the API's document.
pub fn operation() -> Operation {
    Operation::public(&ROUTE)
        .summary("Get the script of a dealership's form")
        .describe(
            "The script carries the signed time at which the form was shown. The form works without it; with \
             it the visitor stays on the page, and bots are recognized. Query parameters are ignored, since \
             content systems add a version. 404 for a dealership that takes no enquiries.",
        )
        .path_id()
        .answer(StatusCode::OK, Some(Media::raw("text/javascript")))
}
