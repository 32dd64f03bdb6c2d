//! Which leads a list shows and a file has: the same parameters, and the same conditions in SQL.
use deserr::Deserr;
use jiff::Timestamp;
use schemars::JsonSchema;
use uuid::Uuid;

use super::{Source, Status, phone_prefix};
use shared::auth::Permission;
use shared::db::{Param, Scope};
use shared::fields::{FieldErrors, Id, Invalid, Text, Time};
use shared::inline_schema;

/// The filters of a query string; whoever is not given filters nothing.
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
#[derive(Clone, Copy, Debug, Deserr)]
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

/// The values of [`lead_conditions!`](crate::lead_conditions).
#[derive(Debug, Default, PartialEq, Eq)]
pub struct LeadConditions {
    status: Option<&'static str>,
    source: Option<&'static str>,
    whose: &'static str,
    member: Option<Uuid>,
    created_after: Option<Timestamp>,
    created_before: Option<Timestamp>,
    updated_since: Option<Timestamp>,
    q: Option<String>,
    phone: Option<String>,
}

/// What a lead has to be to be found, over the columns of `leads`, with the parameters $1 to $9 of
/// [`LeadConditions::params`]. A statement without a name is planned with its parameters' values, so the filters that
/// are not given fold away and the rest can use the index of the order or of the filter.
#[macro_export]
macro_rules! lead_conditions {
    () => {
        "deleted_at is null
         and ($1::text is null or status = $1)
         and ($2::text is null or source = $2)
         and ($3::text <> 'me' or assigned_to = (select scope.user_id()))
         and ($3::text <> 'none' or assigned_to is null)
         and ($4::uuid is null or assigned_to = $4)
         and ($5::timestamptz is null or created_at > $5)
         and ($6::timestamptz is null or created_at < $6)
         and ($7::timestamptz is null or updated_at >= $7)
         and ($8::text is null or name_key ^@ lower($8) or last_name_key ^@ lower($8)
              or company_key ^@ lower($8) or email_key ^@ lower($8) or phone_e164 ^@ $9)"
    };
}

impl LeadFilters {
    /// The parameters of a query string that are filters.
    pub const NAMES: [&'static str; 7] =
        ["status", "source", "assigned_to", "created_after", "created_before", "updated_since", "q"];

    /// The conditions for the caller of `scope`: a sales rep finds their own leads; asking for anybody else's finds
    /// nothing.
    #[must_use]
    pub fn conditions(self, scope: &Scope<'_>) -> LeadConditions {
        // The policy hides the leads of others from a sales rep; saying it too lets the plan use the index.
        let everybody = if scope.may_have(Permission::LeadsViewAll) { "" } else { "me" };
        let (whose, member) = match self.assigned_to {
            None => (everybody, None),
            Some(Assignee::Me) => ("me", None),
            Some(Assignee::None) => ("none", None),
            Some(Assignee::Member(id)) => ("", Some(id)),
        };
        let q = self.q.as_ref().map(Text::as_str);
        LeadConditions {
            status: self.status.map(Status::as_str),
            source: self.source.map(Source::as_str),
            whose,
            member,
            created_after: self.created_after.map(|time| time.0),
            created_before: self.created_before.map(|time| time.0),
            updated_since: self.updated_since.map(|time| time.0),
            phone: q.and_then(phone_prefix),
            q: q.map(str::to_owned),
        }
    }
}

/// The leads that a list is of when nothing is asked of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Everybody's.
    Everybody,
    /// The caller's own.
    Own,
}

impl LeadConditions {
    /// Whose leads, if no other condition is given.
    #[must_use]
    pub fn only_whose(&self) -> Option<Whose> {
        let whose = match self.whose {
            "" => Whose::Everybody,
            "me" => Whose::Own,
            _ => return None,
        };
        (*self == Self { whose: self.whose, ..Self::default() }).then_some(whose)
    }

    /// $1 to $9.
    #[must_use]
    pub fn params(&self) -> [&dyn Param; 9] {
        [
            &self.status,
            &self.source,
            &self.whose,
            &self.member,
            &self.created_after,
            &self.created_before,
            &self.updated_since,
            &self.q,
            &self.phone,
        ]
    }
}
