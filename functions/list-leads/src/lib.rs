//! `GET /api/v1/leads`: a page of leads, filtered, searched and sorted.
use deserr::Deserr;
use serde::Serialize;
use shared::domain::{Lead, Source, Status, phone_prefix};
use shared::fields::{FieldErrors, Id, Invalid, Text, Time};
use shared::page::{self, Cursor, Limit};
use shared::{Answer, ApiError, Caller, Ctx, Login, Permission, Route, select_lead, text_enum};
use uuid::Uuid;

/// As API Gateway spells it; `tests/it/routes.rs` holds it equal to `template.yaml`.
pub const ROUTE: Route = Route {
    name: "list-leads",
    method: "GET",
    path: "/api/v1/leads",
    login: Login::Reader,
    caller: Caller::Member,
};

#[derive(Deserr)]
#[deserr(error = FieldErrors, deny_unknown_fields)]
struct Query {
    #[deserr(default)]
    limit: Limit,
    #[deserr(default)]
    cursor: Option<Cursor>,
    #[deserr(default = Sort::Newest)]
    sort: Sort,
    #[deserr(default = Total::No)]
    total: Total,
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

text_enum! {
    /// The orders a page can have; each has an index.
    Sort {
        /// Newest first.
        Newest = "-created_at",
        /// Oldest first.
        Oldest = "created_at",
        /// Changed last first.
        ChangedLast = "-updated_at",
        /// Changed first first.
        ChangedFirst = "updated_at",
    }
}

text_enum! {
    /// Whether to count every lead that the filters find.
    Total {
        /// Yes.
        Yes = "true",
        /// No.
        No = "false",
    }
}

/// `me`, `none` or a member's id.
#[derive(Clone, Copy, Deserr)]
#[deserr(try_from(String) = Assignee::parse -> Invalid)]
enum Assignee {
    Me,
    None,
    Member(Uuid),
}

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

/// The page in one of the four orders. A statement without a name is planned with its parameters' values, so
/// the filters that are not given fold away and the rest can use the index of the order or of the filter.
macro_rules! page {
    ($column:literal, $beyond:literal, $direction:literal) => {
        concat!(
            "with matching as not materialized (
                select * from leads
                 where deleted_at is null
                   and ($1::text is null or status = $1)
                   and ($2::text is null or source = $2)
                   and ($3::text <> 'me' or assigned_to = (select scope.user_id()))
                   and ($3::text <> 'none' or assigned_to is null)
                   and ($4::uuid is null or assigned_to = $4)
                   and ($5::timestamptz is null or created_at > $5)
                   and ($6::timestamptz is null or created_at < $6)
                   and ($7::timestamptz is null or updated_at >= $7)
                   and ($8::text is null or name_key ^@ lower($8) or last_name_key ^@ lower($8)
                        or company_key ^@ lower($8) or email_key ^@ lower($8) or phone_e164 ^@ $9)
            ), page as (
                select * from matching
                 where ($10::timestamptz is null or (",
            $column,
            ", id) ",
            $beyond,
            " ($10, $11))
                 order by ",
            $column,
            " ",
            $direction,
            ", id ",
            $direction,
            " limit $12
            ), counted as (
                select case when $13::bool then (select count(*) from matching) end as total
            )
            select counted.total, lead.* from counted left join (",
            select_lead!("page"),
            ") lead on true
             order by lead.",
            $column,
            " ",
            $direction,
            ", lead.id ",
            $direction
        )
    };
}

impl Sort {
    fn sql(self) -> &'static str {
        match self {
            Self::Newest => page!("created_at", "<", "desc"),
            Self::Oldest => page!("created_at", ">", "asc"),
            Self::ChangedLast => page!("updated_at", "<", "desc"),
            Self::ChangedFirst => page!("updated_at", ">", "asc"),
        }
    }

    fn cursor(self, lead: &Lead) -> Cursor {
        let at = match self {
            Self::Newest | Self::Oldest => lead.created_at,
            Self::ChangedLast | Self::ChangedFirst => lead.updated_at,
        };
        Cursor { order: self as u8, at, id: lead.id }
    }
}

#[derive(Serialize)]
struct Page {
    items: Vec<Lead>,
    next_cursor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<i64>,
}

/// The page. A sales rep's list is of their own leads; asking for anybody else's finds nothing.
pub async fn handle(ctx: &Ctx<'_>) -> Result<Answer, ApiError> {
    let scope = ctx.member(&[Permission::LeadsViewAll, Permission::LeadsViewAssigned]).await?;
    let query: Query = ctx.query()?;
    let cursor = Cursor::in_order(query.cursor, query.sort as u8)?;

    // The policy hides the leads of others from a sales rep; saying it too lets the plan use the index.
    let everybody = if scope.may_have(Permission::LeadsViewAll) { "" } else { "me" };
    let (whose, member) = match query.assigned_to {
        None => (everybody, None),
        Some(Assignee::Me) => ("me", None),
        Some(Assignee::None) => ("none", None),
        Some(Assignee::Member(id)) => ("", Some(id)),
    };
    let q = query.q.as_ref().map(Text::as_str);
    let rows = scope
        .query(
            query.sort.sql(),
            &[
                &query.status.map(Status::as_str),
                &query.source.map(Source::as_str),
                &whose,
                &member,
                &query.created_after.map(|time| time.0),
                &query.created_before.map(|time| time.0),
                &query.updated_since.map(|time| time.0),
                &q,
                &q.and_then(phone_prefix),
                &cursor.map(|cursor| cursor.at),
                &cursor.map(|cursor| cursor.id),
                &query.limit.plus_one(),
                &(query.total == Total::Yes),
            ],
        )
        .await?;

    // There is always a row, for the total.
    let mut items = page::items(&rows)?;
    let total = rows.first().map(|row| row.try_get("total")).transpose()?.flatten();
    let next_cursor = page::cut(&mut items, query.limit, |lead| query.sort.cursor(lead));
    Answer::ok(&Page { items, next_cursor, total })
}
