//! The lead.
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::conversation::kept_channel;
use super::texts::{AttributionValue, TextVersion};
use super::{AuthorKind, Direction};
use shared::db::{Columns, Row};
use shared::schema::{Schema, SchemaGenerator};
use shared::{merge_patch, text_enum};

text_enum! {
    /// Where a lead came from.
    Source {
        /// A form on a web site.
        Website = "website",
        /// An e-mail.
        Email = "email",
        /// A text message.
        Sms = "sms",
        /// Facebook or Instagram.
        Facebook = "facebook",
        /// A Google Ads lead form.
        GoogleAds = "google_ads",
        /// A call.
        Phone = "phone",
        /// A visit to the dealership.
        WalkIn = "walk_in",
        /// A recommendation by another person.
        Referral = "referral",
        /// A marketplace.
        Marketplace = "marketplace",
        /// An ADF document.
        Adf = "adf",
        /// Another system, by the API.
        Api = "api",
        /// An entry by hand.
        Manual = "manual",
    }
}

text_enum! {
    /// How far a lead has come. The database allows only certain changes of status.
    Status {
        /// Not answered yet.
        New = "new",
        /// In touch.
        Contacted = "contacted",
        /// Worth pursuing.
        Qualified = "qualified",
        /// Sold.
        Won = "won",
        /// Given up, with a reason.
        Lost = "lost",
    }
}

merge_patch! {
    /// How the customer found the dealership. As a merge patch it changes only the fields that it has.
    pub struct Attribution {
        /// Campaign source.
        utm_source: AttributionValue,
        /// Campaign medium.
        utm_medium: AttributionValue,
        /// Campaign name.
        utm_campaign: AttributionValue,
        /// Paid keyword.
        utm_term: AttributionValue,
        /// Distinguishes several links of one campaign.
        utm_content: AttributionValue,
        /// Campaign id.
        utm_id: AttributionValue,
        /// Google click id.
        gclid: AttributionValue,
        /// Google click id of an app campaign.
        gbraid: AttributionValue,
        /// Google click id of a web campaign.
        wbraid: AttributionValue,
        /// Facebook click id.
        fbclid: AttributionValue,
        /// Microsoft click id.
        msclkid: AttributionValue,
        /// The page before the dealership's.
        referrer: AttributionValue,
        /// The first page of the dealership's web site.
        landing_page: AttributionValue,
    }
}

merge_patch! {
    /// What the customer agreed to, and the version of the text that they saw.
    pub struct Consent {
        /// Whether to receive marketing.
        marketing: bool,
        /// The version of the text shown.
        text_version: TextVersion,
    }
}

/// A stored consent: one from the form has the time at which it was given.
fn kept_consent(generator: &mut SchemaGenerator) -> Schema {
    let mut consent = Consent::json_schema(generator);
    if let Some(fields) = consent.get_mut("properties").and_then(Value::as_object_mut) {
        fields.insert("given_at".to_owned(), Timestamp::json_schema(generator).to_value());
    }
    consent
}

/// A lead as every route answers it. Times are UTC.
#[derive(Debug, JsonSchema, Serialize)]
#[allow(missing_docs, reason = "the names are the documentation")]
pub struct Lead {
    pub id: Uuid,
    #[schemars(with = "Source")]
    pub source: String,
    #[schemars(with = "Status")]
    pub status: String,
    pub lost_reason: Option<String>,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub email: Option<String>,
    pub phone: Option<String>,
    pub phone_e164: Option<String>,
    pub company: Option<String>,
    pub message: Option<String>,
    pub vehicle_id: Option<Uuid>,
    pub vehicle_of_interest: Option<String>,
    pub assigned_to: Option<Uuid>,
    #[schemars(with = "Attribution")]
    pub attribution: Value,
    #[schemars(schema_with = "kept_consent")]
    pub consent: Value,
    pub first_human_response_at: Option<Timestamp>,
    pub first_ai_response_at: Option<Timestamp>,
    pub conversation_count: i32,
    pub last_message: Option<LastMessage>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// The ETag, without quotes.
    #[serde(skip)]
    pub version: i32,
}

/// The newest conversation of a lead.
#[derive(Debug, JsonSchema, Serialize)]
#[allow(missing_docs, reason = "the names are the documentation")]
pub struct LastMessage {
    pub id: Uuid,
    #[schemars(with = "Direction")]
    pub direction: String,
    #[schemars(schema_with = "kept_channel")]
    pub channel: String,
    #[schemars(with = "AuthorKind")]
    pub author_kind: String,
    pub body: String,
    pub created_at: Timestamp,
}

/// The columns of [`Lead`], from a row `l` of `leads` and its newest message `m`.
pub const LEAD_COLUMNS: &str = "\
    l.id, l.source, l.status, l.lost_reason, l.first_name, l.last_name, l.email, l.phone, l.phone_e164, \
    l.company, l.message, l.vehicle_id, l.vehicle_of_interest, l.assigned_to, l.attribution, l.consent, \
    l.first_human_response_at, l.first_ai_response_at, l.conversation_count, l.version, l.created_at, \
    l.updated_at, m.id as last_id, m.direction as last_direction, m.channel as last_channel, \
    m.author_kind as last_author_kind, m.body as last_body, m.created_at as last_created_at";

/// Joins the newest message `m`, if there is one, to a row `l` of `leads`.
pub const JOIN_LAST_MESSAGE: &str = "\
    left join lateral (select * from conversations c where c.dealership_id = l.dealership_id and c.lead_id = l.id \
    order by c.created_at desc, c.id desc limit 1) m on true";

impl TryFrom<&Row> for Lead {
    type Error = shared::db::RowError;

    fn try_from(row: &Row) -> Result<Self, Self::Error> {
        let mut columns = Columns::from(row, "id");
        Ok(Self {
            id: columns.next("id")?,
            source: columns.next("source")?,
            status: columns.next("status")?,
            lost_reason: columns.next("lost_reason")?,
            first_name: columns.next("first_name")?,
            last_name: columns.next("last_name")?,
            email: columns.next("email")?,
            phone: columns.next("phone")?,
            phone_e164: columns.next("phone_e164")?,
            company: columns.next("company")?,
            message: columns.next("message")?,
            vehicle_id: columns.next("vehicle_id")?,
            vehicle_of_interest: columns.next("vehicle_of_interest")?,
            assigned_to: columns.next("assigned_to")?,
            attribution: columns.next("attribution")?,
            consent: columns.next("consent")?,
            first_human_response_at: columns.next("first_human_response_at")?,
            first_ai_response_at: columns.next("first_ai_response_at")?,
            conversation_count: columns.next("conversation_count")?,
            version: columns.next("version")?,
            created_at: columns.next("created_at")?,
            updated_at: columns.next("updated_at")?,
            last_message: last_message(&mut columns)?,
        })
    }
}

fn last_message(columns: &mut Columns<'_>) -> Result<Option<LastMessage>, shared::db::RowError> {
    let Some(id) = columns.next("last_id")? else { return Ok(None) };
    Ok(Some(LastMessage {
        id,
        direction: columns.next("last_direction")?,
        channel: columns.next("last_channel")?,
        author_kind: columns.next("last_author_kind")?,
        body: columns.next("last_body")?,
        created_at: columns.next("last_created_at")?,
    }))
}
