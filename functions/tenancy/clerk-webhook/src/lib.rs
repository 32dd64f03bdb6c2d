//! `POST /webhooks/clerk`: receives Clerk's events about organizations, memberships and people. One transaction records
//! an event in the inbox and applies it. The same event again changes nothing, and the order of arrival does not
//! matter.
mod signature;

use jiff::Timestamp;
use lambda_http::http::HeaderName;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use shared::config::{Settings, StartupError};
use shared::docs::{Header, Media};
use shared::error::StatusCode;
use shared::{Answer, ApiError, Caller, Ctx, Front, Login, Operation, Route};
use tenancy::clerk::{self, Change, Event, Malformed, without_nul};

pub use signature::Secrets;

/// Its path, callers, login and statements.
pub const ROUTE: Route = Route {
    name: "clerk-webhook",
    method: "POST",
    path: "/webhooks/clerk",
    login: Login::Provisioner,
    caller: Caller::Public,
    front: Front::Url,
    settings: &["CLERK_INSTANCE_ID", "CLERK_WEBHOOK_SECRETS"],
    statements: &[&[("record", RECORD)], clerk::STATEMENTS],
    flushes: 2,
    ..Route::DEFAULT
};

/// Which messages are accepted.
pub struct Config {
    /// The keys of valid signatures.
    pub secrets: Secrets,
    /// The Clerk instance to follow, if it is set; events of another instance are only recorded.
    pub instance_id: Option<String>,
}

impl Config {
    /// Reads `CLERK_WEBHOOK_SECRETS` and `CLERK_INSTANCE_ID`.
    ///
    /// # Errors
    /// When a secret is missing, empty or not base64.
    pub async fn read(settings: &Settings) -> Result<Self, StartupError> {
        let instance_id = settings.optional("CLERK_INSTANCE_ID").await?;
        Ok(Self { secrets: Secrets::read(settings).await?, instance_id })
    }
}

/// Also takes the locks of the organization and the person, first of all: so two events about one of them cannot pass
/// each other between reading and writing, and an event sees what was committed before.
const RECORD: &str = "
    with locked as materialized (select scope.lock_clerk_id($8), scope.lock_clerk_id($7))
    insert into webhook_inbox (provider, message_id, event_type, payload, body, outcome, occurred_at, clerk_user_id)
    select 'clerk', $1, $2, $3, $4, $5, $6, $7 from locked
    on conflict do nothing returning 1";

/// In the answer to a signed message that can never be applied, so that Svix does not repeat it for a day.
const DELIVERY: HeaderName = HeaderName::from_static("webhook-delivery");

#[derive(JsonSchema, Serialize)]
struct Received {
    #[schemars(extend("enum" = ["received", "duplicate", "malformed"]))]
    status: &'static str,
}

/// How a message is treated.
enum Outcome {
    Applied(Event, Box<Change>),
    Ignored(Event),
    Malformed,
}

/// 200 once the message is recorded and applied; 401 for a bad signature, without touching the database.
pub async fn handle(ctx: &Ctx<'_>, config: &Config) -> Result<Answer, ApiError> {
    let message_id = signature::verify(ctx, &config.secrets)?;
    let body = ctx.body()?;
    let payload: Option<Value> = serde_json::from_slice(body).ok().map(without_nul);
    let outcome = Outcome::of(payload.as_ref(), config);

    let raw = outcome.is_malformed().then(|| String::from_utf8_lossy(body).replace('\0', "\u{fffd}"));
    let change = outcome.change();
    let scope = ctx.provisioning();
    let (transaction, first_time) = scope
        .open(
            RECORD,
            &[
                &message_id,
                &outcome.event_type(payload.as_ref()),
                &payload,
                &raw,
                &outcome.as_str(),
                &outcome.occurred_at(),
                &change.and_then(Change::user_id),
                &change.and_then(Change::organization_id),
            ],
        )
        .await?;
    if first_time.is_empty() {
        transaction.commit(&[]).await?;
        return Answer::ok(&Received { status: "duplicate" });
    }
    transaction.commit(&change.map(Change::statements).unwrap_or_default()).await?;
    if outcome.is_malformed() {
        return Ok(
            Answer::ok(&Received { status: "malformed" })?.header(DELIVERY, "abort-message".to_owned())
        );
    }
    Answer::ok(&Received { status: "received" })
}

/// Inputs and answers, for the API's document.
pub fn operation() -> Operation {
    Operation::public(&ROUTE)
        .summary("Receive an event from Clerk")
        .describe(
            "One transaction records the event and applies it. The same event again changes nothing, and the \
             order of arrival does not matter. 401 for a bad signature, without touching the database.",
        )
        .reads_header("svix-id", "The message; or `webhook-id`.")
        .reads_header("svix-timestamp", "When it was signed, in seconds since 1970; or `webhook-timestamp`.")
        .reads_header(
            "svix-signature",
            "`v1,` and the HMAC-SHA256 of id, timestamp and body, in base64; or `webhook-signature`.",
        )
        .body(Media::of::<Map<String, Value>>("application/json"))
        .refusal(StatusCode::UNAUTHORIZED, &["unauthorized"])
        .ok::<Received>()
        .may_have_headers(&[Header {
            name: "webhook-delivery",
            about: "`abort-message` to one that can never be applied.",
        }])
}

impl Outcome {
    fn of(payload: Option<&Value>, config: &Config) -> Self {
        let Some(event) = payload.and_then(Event::read) else { return Self::Malformed };
        if let (Some(sender), Some(ours)) = (&event.instance_id, &config.instance_id)
            && sender != ours
        {
            return Self::Ignored(event);
        }
        match Change::of(&event) {
            Ok(Some(change)) => Self::Applied(event, Box::new(change)),
            Ok(None) => Self::Ignored(event),
            Err(Malformed) => Self::Malformed,
        }
    }

    fn is_malformed(&self) -> bool {
        matches!(self, Self::Malformed)
    }

    fn change(&self) -> Option<&Change> {
        match self {
            Self::Applied(_, change) => Some(change),
            Self::Ignored(_) | Self::Malformed => None,
        }
    }

    fn occurred_at(&self) -> Option<Timestamp> {
        match self {
            Self::Applied(event, _) | Self::Ignored(event) => event.occurred_at(),
            Self::Malformed => None,
        }
    }

    /// The event's type; of a malformed message whatever it claims.
    fn event_type<'a>(&'a self, payload: Option<&'a Value>) -> Option<&'a str> {
        match self {
            Self::Applied(event, _) | Self::Ignored(event) => Some(&event.r#type),
            Self::Malformed => payload?.get("type")?.as_str(),
        }
    }

    /// The name in the inbox.
    fn as_str(&self) -> &'static str {
        match self {
            Self::Applied(..) => "applied",
            Self::Ignored(_) => "ignored",
            Self::Malformed => "malformed",
        }
    }
}
