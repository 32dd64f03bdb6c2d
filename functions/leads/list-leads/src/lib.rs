//! `GET /api/v1/leads`: a page of leads, filtered, searched and sorted.
mod pages;

use deserr::Deserr;
use leads::{Lead, LeadFilters, PlainList};
use schemars::JsonSchema;
use serde::Serialize;
use shared::db::Param;
use shared::fields::FieldErrors;
use shared::page::{self, Cursor, Limit, Order};
use shared::{Answer, ApiError, Ctx, Operation, Permission, Route, text_enum};

use pages::Pages;

/// Its path, callers, login and statements.
pub const ROUTE: Route =
    Route { name: "list-leads", path: "/api/v1/leads", statements: &[pages::STATEMENTS], ..Route::DEFAULT };

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
    /// The orders of a page; each has an index.
    #[derive(Default)]
    Sort {
        /// Newest first.
        #[default]
        Newest = "-created_at",
        /// Oldest first.
        Oldest = "created_at",
        /// Last changed first.
        ChangedLast = "-updated_at",
        /// First changed first.
        ChangedFirst = "updated_at",
    }
}

text_enum! {
    /// Whether to count all leads that the filters find.
    #[derive(Default)]
    Total {
        /// Count them.
        Yes = "true",
        /// Do not count them.
        #[default]
        No = "false",
    }
}

impl Sort {
    fn order(self) -> Order {
        Order::of(&ROUTE, self.as_str())
    }

    fn pages(self) -> &'static Pages {
        match self {
            Self::Newest => &pages::NEWEST,
            Self::Oldest => &pages::OLDEST,
            Self::ChangedLast => &pages::CHANGED_LAST,
            Self::ChangedFirst => &pages::CHANGED_FIRST,
        }
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

/// The page. A sales rep gets the leads assigned to them; a filter for another assignee finds nothing.
pub async fn handle(ctx: &Ctx<'_>) -> Result<Answer, ApiError> {
    let scope = ctx.member(&[Permission::LeadsViewAll, Permission::LeadsViewAssigned]).await?;
    let (filters, query): (LeadFilters, Query) = ctx.query_with(&LeadFilters::NAMES)?;
    let cursor = Cursor::in_order(query.cursor, query.sort.order())?;

    let conditions = filters.conditions(&scope);
    let pages = query.sort.pages();
    let limit = query.limit.plus_one();
    let rows = match conditions.plain_list() {
        Some(list) if query.total == Total::No => {
            let scope = scope.with_fixed_plan();
            let list = match list {
                PlainList::All => &pages.all,
                PlainList::Own => &pages.own,
            };
            match cursor {
                None => scope.query(list.first, &[&limit]).await?,
                Some(Cursor { at, id, .. }) => scope.query(list.next, &[&limit, &at, &id]).await?,
            }
        }
        _ => {
            let (at, id) = (cursor.map(|cursor| cursor.at), cursor.map(|cursor| cursor.id));
            let page: [&dyn Param; 4] = [&at, &id, &limit, &(query.total == Total::Yes)];
            scope.query(pages.filtered, &[conditions.params().as_slice(), &page].concat()).await?
        }
    };

    let mut items = page::items(&rows)?;
    let total = match query.total {
        // There is a row even if no lead is found.
        Total::Yes => rows.first().map(|row| row.try_get("total")).transpose()?,
        Total::No => None,
    };
    let next_cursor = page::cut(&mut items, query.limit, |lead| query.sort.cursor(lead));
    Answer::ok(&Page { items, next_cursor, total })
}

/// Inputs and answers, for the API's document.
pub fn operation() -> Operation {
    Operation::member(&ROUTE, &[Permission::LeadsViewAll, Permission::LeadsViewAssigned])
        .summary("List leads, filtered, searched and sorted")
        .describe("A sales rep gets the leads assigned to them; a filter for another assignee finds nothing.")
        .query::<Query>()
        .query::<LeadFilters>()
        .ok::<Page>()
}
