//! `POST /webhooks/form/{dealership_id}`: receives an enquiry from a dealership's web site. The enquiry is stored as it
//! came, and only then judged. The sender gets the same answer for each verdict. Anyone can call this route, and its
//! database user can read no row.
mod captcha;
mod submission;

use std::sync::Arc;

use intake::{Enquiry, FILE_SUBMISSION_SQL, Form, Mapping, TokenKeys};
use quick_cache::sync::Cache;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use shared::config::{Settings, StartupError};
use shared::db::Row;
use shared::docs::{Header, Media};
use shared::error::StatusCode;
use shared::fields;
use shared::{Answer, ApiError, Caller, Ctx, Front, Login, Operation, Route, header};
use uuid::Uuid;

pub use captcha::Captcha;
use submission::{RECEIVE, Submission};

/// Its path, callers, login and statements.
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

/// How long an address that sends too much is refused, in seconds: `scope.receive_submission` counts over this time.
const FLOOD_SECONDS: u32 = 600;
/// Mappings that a sandbox keeps.
const REMEMBERED: usize = 1000;

/// What a verdict depends on.
pub struct Config {
    keys: TokenKeys,
    captcha: Option<Captcha>,
    /// The last known mapping of each dealership. The database answers with the current one, so an old one only costs
    /// time.
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
    /// When a required setting is missing, or one is unusable.
    pub async fn read(settings: &Settings) -> Result<Self, StartupError> {
        Ok(Self::new(TokenKeys::read(settings).await?, Captcha::read(settings).await?))
    }

    /// `keys` sign the time of a form and hide the senders' addresses. `captcha` is Cloudflare Turnstile, if the
    /// deployment has it.
    #[must_use]
    pub fn new(keys: TokenKeys, captcha: Option<Captcha>) -> Self {
        Self { keys, captcha, mappings: Cache::new(REMEMBERED) }
    }
}

/// In answers to a script.
const ALLOW_ORIGIN: Header =
    Header { name: "access-control-allow-origin", about: "To a script of the dealership's own origins." };

#[derive(JsonSchema, Serialize)]
struct Receipt {
    receipt_id: Uuid,
    status: &'static str,
}

/// 202 with a receipt, or 303 to the page that the form names. Accepted, held and spam submissions get the same answer,
/// after the same time.
pub async fn handle(ctx: &Ctx<'_>, config: &Config) -> Result<Answer, ApiError> {
    let dealership = ctx.path_id("dealership_id")?;
    let repeat = ctx.idempotency()?;
    let form = Form::read(content_type(ctx), ctx.body()?).await?;

    let submission = Submission::read(ctx, config, dealership, &form, repeat.key).await?;
    let known = config.mappings.get(&dealership).unwrap_or_default();
    let enquiry = read(&form, &known.mapping)?;
    let intake = ctx.intake(dealership).with_fixed_plan();
    // This files the submission in the same flush, unless it is a repetition or another mapping is in force.
    let [received, filed] = intake
        .pipeline(&[
            submission.statement(),
            (FILE_SUBMISSION_SQL, vec![&submission.id, &enquiry, &known.version]),
        ])
        .await?;
    let received = received?;
    let received = stored(received.first())?;

    // The submission is stored now. So it is acknowledged even if filing fails; parse-submissions files it later.
    let receipt_id: Uuid = received.try_get("receipt_id")?;
    let version: i32 = received.try_get("mapping_version")?;
    let filed = if (receipt_id, version) == (submission.id, known.version) {
        filed
    } else {
        let mapping: Mapping = fields::read(received.try_get("mapping")?).unwrap_or_default();
        let enquiry = read(&form, &mapping)?;
        config.mappings.insert(dealership, Versioned { version, mapping: Arc::new(mapping) });
        intake.query(FILE_SUBMISSION_SQL, &[&receipt_id, &enquiry, &version]).await
    };
    let answer = answer(ctx, &form, received)?;
    Ok(match filed {
        Ok(_) => answer,
        Err(error) => answer.despite(error.into()),
    })
}

/// The row of `scope.receive_submission`, if it stored the submission or found that it repeats one.
fn stored(received: Option<&Row>) -> Result<&Row, ApiError> {
    let received = received.ok_or_else(ApiError::not_found)?;
    match received.try_get("outcome")? {
        "flood" => Err(ApiError::too_many_requests(FLOOD_SECONDS)),
        "key_reused" => Err(ApiError::idempotency_key_reused()),
        _ => Ok(received),
    }
}

/// The answer to the sender of a stored submission.
fn answer(ctx: &Ctx<'_>, form: &Form, received: &Row) -> Result<Answer, ApiError> {
    let wants_json = ctx.header("accept").is_some_and(|accept| accept.contains("application/json"));
    let answer = match form.redirect_target() {
        Some(target) if !wants_json && received.try_get("next_is_allowed")? => {
            Answer::see_other(target.to_owned())
        }
        _ => {
            let receipt = Receipt { receipt_id: received.try_get("receipt_id")?, status: "received" };
            Answer::json(StatusCode::ACCEPTED, &receipt)?
        }
    };
    let answer = answer.header(header::VARY, "accept, origin".to_owned());
    Ok(match ctx.header("origin") {
        Some(origin) if received.try_get("origin_is_allowed")? => {
            answer.header(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.to_owned())
        }
        _ => answer,
    })
}

/// Inputs and answers, for the API's document.
pub fn operation() -> Operation {
    Operation::public(&ROUTE)
        .summary("Receive an enquiry from a dealership's web site")
        .describe(
            "202 with a receipt, or 303 to the page that the form names. Accepted, held and spam submissions \
             get the same answer after the same time. A repeated submission (same content within five \
             minutes, or same key) returns the first receipt.",
        )
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

fn read(form: &Form, mapping: &Mapping) -> Result<Value, ApiError> {
    serde_json::to_value(Enquiry::read(form, mapping)).map_err(ApiError::internal)
}

fn content_type<'c>(ctx: &'c Ctx<'_>) -> &'c str {
    ctx.header("content-type").unwrap_or_default()
}
