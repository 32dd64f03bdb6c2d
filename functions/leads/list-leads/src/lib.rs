//! `GET /api/v1/leads`: a page of leads, filtered, searched and sorted.
use deserr::Deserr;
use leads::{Lead, LeadFilters, Whose};
use schemars::JsonSchema;
use serde::Serialize;
use shared::db::Param;
use shared::fields::FieldErrors;
use shared::page::{self, Cursor, Limit, Order};
use shared::{Answer, ApiError, Ctx, Operation, Permission, Route, text_enum};

/// Where it is and whom it answers.
pub const ROUTE: Route = Route { name: "list-leads", path: "/api/v1/leads", ..Route::DEFAULT };

#[derive(Deserr, JsonSchema)]
#[deserr(error = FieldErrors, deny_unknown_fields)]
struct Query {
    #[deserr(default)]
    #[schemars(default)]
    limit: Limit,
    #[deserr(default)]
    cursor: Option<Cursor>,
    #[deserr(default)]
    #[schemars(default)]
    sort: Sort,
    #[deserr(default)]
    #[schemars(default)]
    total: Total,
}

text_enum! {
    /// The orders a page can have; each has an index.
    #[derive(Default)]
    Sort {
        /// Newest first.
        #[default]
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
    #[derive(Default)]
    Total {
        /// Yes.
        Yes = "true",
        /// No.
        #[default]
        No = "false",
    }
}

/// The page in one of the four orders.
macro_rules! page {
    ($column:literal, $beyond:literal, $direction:literal) => {
        concat!(
            "with matching as not materialized (
                select * from leads where ",
            leads::lead_conditions!(),
            "
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
            leads::select_lead!("page"),
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

/// The list as it opens: without a filter or the total its plan is the same whatever the parameters are. By whether it
/// is of the caller's own leads, and by whether it goes on after a cursor.
macro_rules! plain_pages {
    ($column:literal, $beyond:literal, $direction:literal) => {
        [
            [
                plain_pages!($column, $direction, []),
                plain_pages!($column, $direction, [" and (", $column, ", id) ", $beyond, " ($2, $3)"]),
            ],
            [
                plain_pages!($column, $direction, [" and assigned_to = (select scope.user_id())"]),
                plain_pages!($column, $direction, [
                    " and assigned_to = (select scope.user_id()) and (", $column, ", id) ", $beyond, " ($2, $3)"
                ]),
            ],
        ]
    };
    ($column:literal, $direction:literal, [$($condition:literal),*]) => {
        concat!(
            "with page as (
                select * from leads where deleted_at is null", $($condition,)* "
                 order by ", $column, " ", $direction, ", id ", $direction, " limit $1
            ) ",
            leads::select_lead!("page"),
            " order by l.", $column, " ", $direction, ", l.id ", $direction
        )
    };
}

impl Sort {
    fn order(self) -> Order {
        Order::of(&ROUTE, self.as_str())
    }

    fn sql(self) -> &'static str {
        match self {
            Self::Newest => page!("created_at", "<", "desc"),
            Self::Oldest => page!("created_at", ">", "asc"),
            Self::ChangedLast => page!("updated_at", "<", "desc"),
            Self::ChangedFirst => page!("updated_at", ">", "asc"),
        }
    }

    fn plain_sql(self, is_own: bool, goes_on: bool) -> &'static str {
        let pages = match self {
            Self::Newest => plain_pages!("created_at", "<", "desc"),
            Self::Oldest => plain_pages!("created_at", ">", "asc"),
            Self::ChangedLast => plain_pages!("updated_at", "<", "desc"),
            Self::ChangedFirst => plain_pages!("updated_at", ">", "asc"),
        };
        pages[usize::from(is_own)][usize::from(goes_on)]
    }

    fn cursor(self, lead: &Lead) -> Cursor {
        let at = match self {
            Self::Newest | Self::Oldest => lead.created_at,
            Self::ChangedLast | Self::ChangedFirst => lead.updated_at,
        };
        Cursor { order: self.order(), at, id: lead.id }
    }
}

#[derive(JsonSchema, Serialize)]
#[schemars(rename = "LeadPage")]
struct Page {
    items: Vec<Lead>,
    next_cursor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<i64>,
}

/// The page. A sales rep's list is of their own leads; asking for anybody else's finds nothing.
pub async fn handle(ctx: &Ctx<'_>) -> Result<Answer, ApiError> {
    let scope = ctx.member(&[Permission::LeadsViewAll, Permission::LeadsViewAssigned]).await?;
    let (filters, query): (LeadFilters, Query) = ctx.query_with(&LeadFilters::NAMES)?;
    let cursor = Cursor::in_order(query.cursor, query.sort.order())?;

    let conditions = filters.conditions(&scope);
    let (at, id) = (cursor.map(|cursor| cursor.at), cursor.map(|cursor| cursor.id));
    let limit = query.limit.plus_one();
    let rows = match conditions.only_whose() {
        Some(whose) if query.total == Total::No => {
            let sql = query.sort.plain_sql(whose == Whose::Own, cursor.is_some());
            let page: &[&dyn Param] = if cursor.is_some() { &[&limit, &at, &id] } else { &[&limit] };
            scope.with_fixed_plan().query(sql, page).await?
        }
        _ => {
            let page: [&dyn Param; 4] = [&at, &id, &limit, &(query.total == Total::Yes)];
            scope.query(query.sort.sql(), &[conditions.params().as_slice(), &page].concat()).await?
        }
    };

    let mut items = page::items(&rows)?;
    let total = match query.total {
        // Then there is always a row.
        Total::Yes => rows.first().map(|row| row.try_get("total")).transpose()?,
        Total::No => None,
    };
    let next_cursor = page::cut(&mut items, query.limit, |lead| query.sort.cursor(lead));
    Answer::ok(&Page { items, next_cursor, total })
}

/// What it reads and answers, for the API's document.
pub fn operation() -> Operation {
    Operation::member(&ROUTE, &[Permission::LeadsViewAll, Permission::LeadsViewAssigned])
        .query::<Query>()
        .query::<LeadFilters>()
        .ok::<Page>()
}
