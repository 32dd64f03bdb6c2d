//! `POST /webhooks/form/{dealership_id}`: an enquiry from a dealership's web site. What comes is stored as it is and
//! judged before anything is made of it; whatever the verdict, the sender gets the same answer. Anybody can call it,
//! and its database user sees no row.
mod captcha;

use std::sync::Arc;

use intake::{Enquiry, FILE_SUBMISSION_SQL, Form, Honeypot, Mapping, RenderToken, TokenKeys};
use quick_cache::sync::Cache;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use shared::config::{Settings, StartupError};
use shared::docs::{Header, Media};
use shared::error::StatusCode;
use shared::fields;
use shared::{Answer, ApiError, Caller, Ctx, Front, Login, Operation, Route, header};
use uuid::Uuid;

pub use captcha::Captcha;

/// Where it is and whom it answers.
pub const ROUTE: Route = Route {
    name: "form-webhook",
    method: "POST",
    path: "/webhooks/form/{dealership_id}",
    login: Login::Intake,
    caller: Caller::Public,
    front: Front::FormApi,
    settings: &["FORM_SECRETS", "TURNSTILE_SECRET_KEY"],
    constraints: &[leads::CONSTRAINTS],
    statements: &[&[("receive", RECEIVE), ("file", FILE_SUBMISSION_SQL)]],
    ..Route::DEFAULT
};

/// For how long an address that floods is turned away, in seconds: what `scope.receive_submission` counts over.
const FLOOD_SECONDS: u32 = 600;
/// The headers that are stored: none that identifies a person, and none that is a secret.
const KEPT_HEADERS: [&str; 6] =
    ["accept", "accept-language", "content-type", "origin", "referer", "user-agent"];

/// Dealerships whose mapping a sandbox remembers.
const REMEMBERED: usize = 1000;

/// What a verdict needs to know.
pub struct Config {
    keys: TokenKeys,
    captcha: Option<Captcha>,
    /// As the database last had it. It says if it has another now, so a wrong one costs time alone.
    mappings: Cache<Uuid, Versioned>,
}

#[derive(Clone, Default)]
struct Versioned {
    version: i32,
    mapping: Arc<Mapping>,
}

impl Config {
    /// Reads `FORM_SECRETS`, `TURNSTILE_SECRET_KEY` and `TURNSTILE_URL`.
    ///
    /// # Errors
    /// When one of them is missing that must be there, or unusable.
    pub async fn read(settings: &Settings) -> Result<Self, StartupError> {
        Ok(Self::new(TokenKeys::read(settings).await?, Captcha::read(settings).await?))
    }

    /// `keys` sign a form's time, and hide the senders' addresses; `captcha` is Cloudflare Turnstile, if the
    /// deployment has it.
    #[must_use]
    pub fn new(keys: TokenKeys, captcha: Option<Captcha>) -> Self {
        Self { keys, captcha, mappings: Cache::new(REMEMBERED) }
    }
}

/// To a script.
const ALLOW_ORIGIN: Header =
    Header { name: "access-control-allow-origin", about: "To a script of the dealership's own origins." };

const RECEIVE: &str = "
    select outcome, receipt_id, origin_is_allowed, next_is_allowed, coalesce(mapping_version, 0) as mapping_version,
           coalesce(mapping, '{}') as mapping
      from scope.receive_submission(
           sent_type => $1, sent_headers => $2, sent_body => $3, hash => $4, sender => $5, repeat_key => $6,
           spam_signs => $7, oddities => $8, captcha => $9, captcha_host => $10, origin => $11, next_origin => $12,
           submission => $13)";

#[derive(JsonSchema, Serialize)]
struct Receipt {
    receipt_id: Uuid,
    status: &'static str,
}

/// 202 with a receipt, or 303 to where the form says; accepted, held and spam look and last the same.
pub async fn handle(ctx: &Ctx<'_>, config: &Config) -> Result<Answer, ApiError> {
    let dealership = ctx.path_id("dealership_id")?;
    let repeat = ctx.idempotency()?;
    let content_type = ctx.header("content-type").unwrap_or_default();
    let body = ctx.body()?.to_vec();
    let form = Form::read(content_type, &body).await?;

    let signs = Signs::of(&form, dealership, config, ctx);
    let captcha = captcha::verify(config.captcha.as_ref(), form.captcha()).await;
    let next = form.next().filter(|next| is_plain_http(next));
    let id = Uuid::now_v7();
    let known = config.mappings.get(&dealership).unwrap_or_default();
    let enquiry = read(&form, &known.mapping)?;
    let intake = ctx.intake(dealership).with_fixed_plan();
    // Filed in the same flush, if it is the first of its kind and the mapping is still the one that we know.
    let [received, mut filed] = intake
        .pipeline(&[
            (
                RECEIVE,
                vec![
                    &content_type,
                    &kept_headers(ctx),
                    &body,
                    &form.content_hash(),
                    &ctx.source_address().and_then(|address| config.keys.pseudonym(&address)),
                    &repeat.key,
                    &signs.spam,
                    &signs.oddities,
                    &captcha.as_str(),
                    &captcha.host(),
                    &ctx.header("origin"),
                    &next.map(origin),
                    &id,
                ],
            ),
            (FILE_SUBMISSION_SQL, vec![&id, &enquiry, &known.version]),
        ])
        .await?;
    let received = received?;
    let received = received.first().ok_or_else(ApiError::not_found)?;
    match received.try_get("outcome")? {
        "flood" => return Err(ApiError::too_many_requests(FLOOD_SECONDS)),
        "key_reused" => return Err(ApiError::idempotency_key_reused()),
        _ => {}
    }

    // From here on it is stored, and acknowledged whatever happens: parse-submissions files what is left.
    let receipt_id: Uuid = received.try_get("receipt_id")?;
    let version: i32 = received.try_get("mapping_version")?;
    if (receipt_id, version) != (id, known.version) {
        let mapping: Mapping = fields::read(received.try_get("mapping")?).unwrap_or_default();
        let enquiry = read(&form, &mapping)?;
        config.mappings.insert(dealership, Versioned { version, mapping: Arc::new(mapping) });
        filed = intake.query(FILE_SUBMISSION_SQL, &[&receipt_id, &enquiry, &version]).await;
    }

    let wants_json = ctx.header("accept").is_some_and(|accept| accept.contains("application/json"));
    let mut answer = match next {
        Some(next) if !wants_json && received.try_get("next_is_allowed")? => {
            Answer::see_other(next.to_owned())
        }
        _ => Answer::json(StatusCode::ACCEPTED, &Receipt { receipt_id, status: "received" })?,
    }
    .header(header::VARY, "accept, origin".to_owned());
    if let Some(origin) = ctx.header("origin")
        && received.try_get("origin_is_allowed")?
    {
        answer = answer.header(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.to_owned());
    }
    Ok(match filed {
        Ok(_) => answer,
        Err(error) => answer.despite(error.into()),
    })
}

/// What it reads and answers, for the API's document.
pub fn operation() -> Operation {
    Operation::public(&ROUTE)
        .path_id()
        .idempotency()
        .body(Media::of::<Map<String, Value>>("application/json"))
        .body(Media::of::<Map<String, Value>>("application/x-www-form-urlencoded"))
        .body(Media::of::<Map<String, Value>>("multipart/form-data"))
        .refusal(StatusCode::BAD_REQUEST, &["malformed_form", "malformed_json"])
        .refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, &["unsupported_media_type"])
        .refusal(StatusCode::TOO_MANY_REQUESTS, &["too_many_requests"])
        .reads_header("accept", "With `application/json` there is no 303.")
        .reads_header("origin", "The site that a script sends from.")
        .answers_json::<Receipt>(StatusCode::ACCEPTED)
        .may_have_headers(&[ALLOW_ORIGIN])
        .see_other()
        .may_have_headers(&[ALLOW_ORIGIN])
}

/// What speaks against a form before the database is asked.
#[derive(Default)]
struct Signs {
    spam: Vec<String>,
    oddities: Vec<String>,
}

impl Signs {
    fn of(form: &Form, dealership: Uuid, config: &Config, ctx: &Ctx<'_>) -> Self {
        let mut signs = Self::default();
        let token = form.rendered().map(|token| config.keys.verify(dealership, token, ctx.now()));
        match token {
            None | Some(RenderToken::Good) => {}
            Some(RenderToken::TooFast) => signs.spam.push("too_fast".to_owned()),
            Some(RenderToken::Forged) => signs.spam.push("token_forged".to_owned()),
            Some(RenderToken::Stale) => signs.oddities.push("token_stale".to_owned()),
        }
        match form.honeypot() {
            Honeypot::Filled => signs.spam.push("honeypot".to_owned()),
            // Our snippet has both, so whoever sends one alone has picked the fields.
            Honeypot::Absent if token.is_some() => signs.spam.push("honeypot_missing".to_owned()),
            Honeypot::Absent | Honeypot::Empty => {}
        }
        signs
    }
}

fn read(form: &Form, mapping: &Mapping) -> Result<Value, ApiError> {
    serde_json::to_value(Enquiry::read(form, mapping)).map_err(ApiError::internal)
}

fn kept_headers(ctx: &Ctx<'_>) -> Value {
    let kept = KEPT_HEADERS.into_iter().filter_map(|name| Some((name.to_owned(), ctx.header(name)?.into())));
    Value::Object(kept.collect::<Map<_, _>>())
}

/// Whether it can be put into a `Location` as it is.
fn is_plain_http(url: &str) -> bool {
    let is_plain = url.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    is_plain && (url.starts_with("https://") || url.starts_with("http://"))
}

/// `https://a.example:8443` of `https://a.example:8443/thanks?x`; what a browser would take for the host and more is
/// no origin that anybody allows.
fn origin(url: &str) -> String {
    let after_scheme = url.find("://").map_or(0, |at| at + 3);
    let end = url[after_scheme..].find(['/', '?', '#']).map_or(url.len(), |at| after_scheme + at);
    url[..end].to_owned()
}
