//! The filters of lists and files of leads: their parameters, and their conditions in SQL.
use deserr::Deserr;
use jiff::Timestamp;
use schemars::JsonSchema;
use uuid::Uuid;

use super::{Source, Status, phone_prefix};
use shared::auth::Permission;
use shared::db::{Param, Scope};
use shared::fields::{FieldErrors, Id, Invalid, Text, Time};
use shared::inline_schema;

/// The filters in a query string. An absent filter excludes no lead.
#[derive(Debug, Deserr, JsonSchema)]
#[deserr(error = FieldErrors, deny_unknown_fields)]
pub struct LeadFilters {
    #[deserr(default)]
    status: Option<Status>,
    #[deserr(default)]
    source: Option<Source>,
    #[deserr(default)]
    assigned_to: Option<Assignee>,
    #[deserr(default)]
    created_after: Option<Time>,
    #[deserr(default)]
    created_before: Option<Time>,
    #[deserr(default)]
    updated_since: Option<Time>,
    #[deserr(default)]
    q: Option<Text<100>>,
}

/// `me`, `none` or a member's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserr)]
#[deserr(try_from(String) = Assignee::parse -> Invalid)]
enum Assignee {
    Me,
    None,
    Member(Uuid),
}

inline_schema!(Assignee, { "anyOf": [
    { "type": "string", "enum": ["me", "none"] },
    { "type": "string", "format": "uuid" },
] });

impl Assignee {
    fn parse(value: String) -> Result<Self, Invalid> {
        match value.as_str() {
            "me" => Ok(Self::Me),
            "none" => Ok(Self::None),
            _ => Id::parse(value)
                .map(|id| Self::Member(id.0))
                .map_err(|_| Invalid::because("must be me, none or a UUID")),
        }
    }
}

/// The values of [`LEAD_CONDITIONS`].
#[derive(Debug, Default, PartialEq, Eq)]
pub struct LeadConditions {
    status: Option<&'static str>,
    source: Option<&'static str>,
    assigned_to: Option<Assignee>,
    created_after: Option<Timestamp>,
    created_before: Option<Timestamp>,
    updated_since: Option<Timestamp>,
    q: Option<String>,
    phone: Option<String>,
}

/// The conditions that [`LeadFilters`] set on the columns of `leads`, with the parameters $1 to $9 of
/// [`LeadConditions::params`]. PostgreSQL plans a statement without a fixed plan for the values of its parameters: it
/// drops the filters that are not given, and can use the index of the order or of a filter.
pub const LEAD_CONDITIONS: &str = "deleted_at is null
     and ($1::text is null or status = $1)
     and ($2::text is null or source = $2)
     and ($3::text <> 'me' or assigned_to = (select scope.user_id()))
     and ($3::text <> 'none' or assigned_to is null)
     and ($4::uuid is null or assigned_to = $4)
     and ($5::timestamptz is null or created_at > $5)
     and ($6::timestamptz is null or created_at < $6)
     and ($7::timestamptz is null or updated_at >= $7)
     and ($8::text is null or name_key ^@ lower($8) or last_name_key ^@ lower($8)
          or company_key ^@ lower($8) or email_key ^@ lower($8) or phone_e164 ^@ $9)";

impl LeadFilters {
    /// The parameters of a query string that are filters.
    pub const NAMES: [&'static str; 7] =
        ["status", "source", "assigned_to", "created_after", "created_before", "updated_since", "q"];

    /// The conditions for the caller of `scope`. A sales rep finds the leads assigned to them; a filter for another
    /// assignee finds nothing.
    #[must_use]
    pub fn conditions(self, scope: &Scope<'_>) -> LeadConditions {
        // The policy hides the leads of others from a sales rep; the condition lets the plan use the index.
        let default = (!scope.may_have(Permission::LeadsViewAll)).then_some(Assignee::Me);
        let q = self.q.as_ref().map(Text::as_str);
        LeadConditions {
            status: self.status.map(Status::as_str),
            source: self.source.map(Source::as_str),
            assigned_to: self.assigned_to.or(default),
            created_after: self.created_after.map(|time| time.0),
            created_before: self.created_before.map(|time| time.0),
            updated_since: self.updated_since.map(|time| time.0),
            phone: q.and_then(phone_prefix),
            q: q.map(str::to_owned),
        }
    }
}

/// A list without filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlainList {
    /// The dealership's leads.
    All,
    /// The leads that are assigned to the caller.
    Own,
}

impl LeadConditions {
    /// The list without filters that the conditions describe, if they describe one.
    #[must_use]
    pub fn plain_list(&self) -> Option<PlainList> {
        let list = match self.assigned_to {
            None => PlainList::All,
            Some(Assignee::Me) => PlainList::Own,
            Some(Assignee::None | Assignee::Member(_)) => return None,
        };
        (*self == Self { assigned_to: self.assigned_to, ..Self::default() }).then_some(list)
    }

    /// $1 to $9 of [`LEAD_CONDITIONS`].
    #[must_use]
    pub fn params(&self) -> [&dyn Param; 9] {
        let (keyword, member): (&dyn Param, &dyn Param) = match &self.assigned_to {
            None => (&"", &None::<Uuid>),
            Some(Assignee::Me) => (&"me", &None::<Uuid>),
            Some(Assignee::None) => (&"none", &None::<Uuid>),
            Some(Assignee::Member(id)) => (&"", id),
        };
        [
            &self.status,
            &self.source,
            keyword,
            member,
            &self.created_after,
            &self.created_before,
            &self.updated_since,
            &self.q,
            &self.phone,
        ]
    }
}
