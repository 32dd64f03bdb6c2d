//! `GET /api/v1/dealership/form-snippet`: the form as HTML, for the dealership's web site.
mod words;

use deserr::Deserr;
use schemars::JsonSchema;
use serde::Serialize;
use shared::config::{Settings, StartupError};
use shared::fields::{FieldError, FieldErrors, Invalid};
use shared::{Answer, ApiError, Ctx, Operation, Permission, Route, inline_schema};
use url::Url;
use uuid::Uuid;

pub use words::{Lang, Words};

/// Its path, callers, login and statements.
pub const ROUTE: Route = Route {
    name: "get-form-snippet",
    path: "/api/v1/dealership/form-snippet",
    settings: &["FORM_URL"],
    statements: &[&[("dealership", SQL)]],
    ..Route::DEFAULT
};

/// The address of the public forms.
pub struct Config {
    /// Without a slash at the end.
    pub form_url: String,
}

impl Config {
    /// Reads `FORM_URL`.
    ///
    /// # Errors
    /// When it is missing or is not a web address.
    pub async fn read(settings: &Settings) -> Result<Self, StartupError> {
        let form_url = settings.required("FORM_URL").await?;
        let is_web = Url::parse(&form_url).is_ok_and(|url| matches!(url.scheme(), "https" | "http"));
        if !is_web {
            return Err(StartupError::Invalid("FORM_URL", "it is no address of the web".to_owned()));
        }
        Ok(Self { form_url: form_url.trim_end_matches('/').to_owned() })
    }
}

#[derive(Deserr, JsonSchema)]
#[deserr(error = FieldErrors, deny_unknown_fields)]
struct Query {
    #[deserr(default)]
    #[schemars(default)]
    lang: Lang,
    #[deserr(default)]
    next: Option<Next>,
}

/// The page to which a form without the script sends the browser.
#[derive(Deserr)]
#[deserr(try_from(String) = Next::parse -> Invalid)]
struct Next(Url);

inline_schema!(Next, { "type": "string", "format": "uri", "pattern": "^https?://" });

impl Next {
    fn parse(value: String) -> Result<Self, Invalid> {
        let is_plain = |url: &Url| {
            let is_web = matches!(url.scheme(), "https" | "http");
            is_web && url.username().is_empty() && url.password().is_none()
        };
        let url = Url::parse(&value).ok().filter(is_plain);
        url.map(Self)
            .ok_or_else(|| Invalid::because("must be a whole address, such as https://www.example.no/takk"))
    }
}

const SQL: &str = "
    select d.id, d.name, $1::text is null or $1 = any (d.form_redirect_origins) as next_is_allowed
      from dealerships d where d.id = (select scope.dealership_id())";

#[derive(JsonSchema, Serialize)]
struct Snippet {
    lang: Lang,
    html: String,
    action_url: String,
    script_url: String,
    /// The version of the consent's text; the form sends it along.
    consent_text_version: &'static str,
}

/// The snippet, in Norwegian bokmål unless `lang` names another language.
pub async fn handle(ctx: &Ctx<'_>, config: &Config) -> Result<Answer, ApiError> {
    let scope = ctx.member(&[Permission::SettingsManage]).await?;
    let Query { lang, next } = ctx.query()?;
    let next = next.map(|next| next.0);
    let rows = scope.query(SQL, &[&next.as_ref().map(|url| url.origin().ascii_serialization())]).await?;
    let row = rows.first().ok_or_else(ApiError::not_found)?;
    if !row.try_get::<_, bool>("next_is_allowed")? {
        let why = "must be at one of the dealership's form.redirect_origins";
        return Err(ApiError::bad_parameters(vec![FieldError::new("next", "invalid", why)]));
    }

    let action_url = format!("{}/webhooks/form/{}", config.form_url, row.try_get::<_, Uuid>("id")?);
    let script_url = format!("{action_url}/form.js");
    let html = html(lang, &action_url, &script_url, row.try_get("name")?, next.as_ref());
    Answer::ok(&Snippet {
        lang,
        html,
        action_url,
        script_url,
        consent_text_version: lang.words().consent_version,
    })
}

/// Inputs and answers, for the API's document.
pub fn operation() -> Operation {
    Operation::member(&ROUTE, &[Permission::SettingsManage])
        .summary("Get the form as HTML to paste into the dealership's web site")
        .describe("The form is in Norwegian bokmål unless `lang` names another language.")
        .query::<Query>()
        .ok::<Snippet>()
}

fn html(lang: Lang, action: &str, script: &str, dealership: &str, next: Option<&Url>) -> String {
    let words = lang.words();
    let next = next
        .map(|url| format!("\n  <input name=\"_next\" type=\"hidden\" value=\"{}\">", escaped(url.as_str())));
    format!(
        include_str!("snippet.html"),
        action = escaped(action),
        script = escaped(script),
        lang = lang.as_str(),
        name = words.name,
        email = words.email,
        phone = words.phone,
        vehicle = words.vehicle,
        message = words.message,
        consent = escaped(&words.consent.replace("{dealership}", dealership)),
        text_version = words.consent_version,
        gotcha = words.gotcha,
        next = next.unwrap_or_default(),
        send = words.send,
    )
}

/// Escaped for the text of an element or a quoted attribute.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(letter),
        }
    }
    escaped
}
