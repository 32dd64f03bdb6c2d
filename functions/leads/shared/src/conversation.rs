//! The conversation: one message on a lead.
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use shared::db::Row;
use shared::schema::{Schema, SchemaGenerator, json_schema};
use shared::text_enum;

text_enum! {
    /// The direction of a message.
    Direction {
        /// From the customer.
        Inbound = "inbound",
        /// From the dealership.
        Outbound = "outbound",
    }
}

text_enum! {
    /// The channel of a message.
    Channel {
        /// E-mail.
        Email = "email",
        /// Text message.
        Sms = "sms",
        /// Facebook Messenger.
        Facebook = "facebook",
        /// A call.
        Phone = "phone",
        /// A note of the dealership, which the customer never sees.
        Note = "note",
    }
}

text_enum! {
    /// The author's kind.
    AuthorKind {
        /// The customer.
        Customer = "customer",
        /// A person at the dealership.
        Human = "human",
        /// The AI agent.
        Ai = "ai",
        /// Norvalt itself, such as a receipt.
        System = "system",
    }
}

/// The channels of stored messages: those that a caller may name, and the dealership's form.
pub(super) fn kept_channel(_: &mut SchemaGenerator) -> Schema {
    let names: Vec<_> = Channel::NAMES.iter().chain(&["form"]).collect();
    json_schema!({ "type": "string", "enum": names })
}

/// A conversation as every route answers it. Times are UTC.
#[derive(Debug, JsonSchema, Serialize)]
#[allow(missing_docs, reason = "the names are the documentation")]
pub struct Conversation {
    pub id: Uuid,
    pub lead_id: Uuid,
    #[schemars(with = "Direction")]
    pub direction: String,
    #[schemars(schema_with = "kept_channel")]
    pub channel: String,
    #[schemars(with = "AuthorKind")]
    pub author_kind: String,
    pub author_id: Option<Uuid>,
    /// A human author: `{id, name, removed}`, also after they left; without a name once Clerk has deleted the person.
    #[schemars(with = "Option<Map<String, Value>>")]
    pub author: Option<Value>,
    pub auto_reply: bool,
    pub body: String,
    #[schemars(with = "Map<String, Value>")]
    pub message_metadata: Value,
    pub created_at: Timestamp,
}

/// The columns of [`Conversation`], from `conversations` of the scope's dealership.
pub const CONVERSATION_COLUMNS: &str = "\
    id, lead_id, direction, channel, author_kind, author_id,
    (select jsonb_build_object('id', u.id, 'name', nullif(concat_ws(' ', u.first_name, u.last_name), ''),
                               'removed', m.removed_at is not null)
       from memberships m join users u on u.id = m.user_id
      where m.dealership_id = (select scope.dealership_id()) and m.user_id = author_id) as author,
    auto_reply, body, message_metadata, created_at";

impl TryFrom<&Row> for Conversation {
    type Error = shared::db::RowError;

    fn try_from(row: &Row) -> Result<Self, Self::Error> {
        Ok(Self {
            id: row.try_get("id")?,
            lead_id: row.try_get("lead_id")?,
            direction: row.try_get("direction")?,
            channel: row.try_get("channel")?,
            author_kind: row.try_get("author_kind")?,
            author_id: row.try_get("author_id")?,
            author: row.try_get("author")?,
            auto_reply: row.try_get("auto_reply")?,
            body: row.try_get("body")?,
            message_metadata: row.try_get("message_metadata")?,
            created_at: row.try_get("created_at")?,
        })
    }
}
