//! The statements of the list. Each order has an index, and statements of its own.
use const_format::formatcp;
use leads::{JOIN_LAST_MESSAGE, LEAD_COLUMNS, LEAD_CONDITIONS};
use shared::db::NamedSql;

/// The statements of one order.
pub(crate) struct Pages {
    /// A page of the list with filters or with the total: $1 to $9 are the filters' parameters, $10 and $11 the cursor,
    /// $12 the limit, and $13 asks for the total.
    pub(crate) filtered: &'static str,
    /// The dealership's leads.
    pub(crate) all: PlainPages,
    /// The caller's own leads.
    pub(crate) own: PlainPages,
}

/// The statements of a list without filters and without the total: its plan is the same for all parameters.
pub(crate) struct PlainPages {
    /// $1 is the limit.
    pub(crate) first: &'static str,
    /// $1 is the limit, $2 and $3 are the cursor.
    pub(crate) next: &'static str,
}

const MATCHING: &str =
    formatcp!("with matching as not materialized (select * from leads where {LEAD_CONDITIONS})");
const COUNTED: &str = formatcp!(
    "counted as (select case when $13::bool then (select count(*) from matching) end as total)
     select counted.total, lead.*
       from counted left join (select {LEAD_COLUMNS} from page l {JOIN_LAST_MESSAGE}) lead on true"
);

const ALL: &str = "select * from leads where deleted_at is null";
const OWN: &str = "select * from leads where deleted_at is null and assigned_to = (select scope.user_id())";
const PAGE: &str = formatcp!("select {LEAD_COLUMNS} from page l {JOIN_LAST_MESSAGE}");

pub(crate) const NEWEST: Pages = Pages {
    filtered: formatcp!(
        "{MATCHING}, page as (
            select * from matching where ($10::timestamptz is null or (created_at, id) < ($10, $11))
             order by created_at desc, id desc limit $12
         ), {COUNTED}
          order by lead.created_at desc, lead.id desc"
    ),
    all: PlainPages {
        first: formatcp!(
            "with page as ({ALL} order by created_at desc, id desc limit $1)
             {PAGE} order by l.created_at desc, l.id desc"
        ),
        next: formatcp!(
            "with page as ({ALL} and (created_at, id) < ($2, $3) order by created_at desc, id desc limit $1)
             {PAGE} order by l.created_at desc, l.id desc"
        ),
    },
    own: PlainPages {
        first: formatcp!(
            "with page as ({OWN} order by created_at desc, id desc limit $1)
             {PAGE} order by l.created_at desc, l.id desc"
        ),
        next: formatcp!(
            "with page as ({OWN} and (created_at, id) < ($2, $3) order by created_at desc, id desc limit $1)
             {PAGE} order by l.created_at desc, l.id desc"
        ),
    },
};

pub(crate) const OLDEST: Pages = Pages {
    filtered: formatcp!(
        "{MATCHING}, page as (
            select * from matching where ($10::timestamptz is null or (created_at, id) > ($10, $11))
             order by created_at asc, id asc limit $12
         ), {COUNTED}
          order by lead.created_at asc, lead.id asc"
    ),
    all: PlainPages {
        first: formatcp!(
            "with page as ({ALL} order by created_at asc, id asc limit $1)
             {PAGE} order by l.created_at asc, l.id asc"
        ),
        next: formatcp!(
            "with page as ({ALL} and (created_at, id) > ($2, $3) order by created_at asc, id asc limit $1)
             {PAGE} order by l.created_at asc, l.id asc"
        ),
    },
    own: PlainPages {
        first: formatcp!(
            "with page as ({OWN} order by created_at asc, id asc limit $1)
             {PAGE} order by l.created_at asc, l.id asc"
        ),
        next: formatcp!(
            "with page as ({OWN} and (created_at, id) > ($2, $3) order by created_at asc, id asc limit $1)
             {PAGE} order by l.created_at asc, l.id asc"
        ),
    },
};

pub(crate) const CHANGED_LAST: Pages = Pages {
    filtered: formatcp!(
        "{MATCHING}, page as (
            select * from matching where ($10::timestamptz is null or (updated_at, id) < ($10, $11))
             order by updated_at desc, id desc limit $12
         ), {COUNTED}
          order by lead.updated_at desc, lead.id desc"
    ),
    all: PlainPages {
        first: formatcp!(
            "with page as ({ALL} order by updated_at desc, id desc limit $1)
             {PAGE} order by l.updated_at desc, l.id desc"
        ),
        next: formatcp!(
            "with page as ({ALL} and (updated_at, id) < ($2, $3) order by updated_at desc, id desc limit $1)
             {PAGE} order by l.updated_at desc, l.id desc"
        ),
    },
    own: PlainPages {
        first: formatcp!(
            "with page as ({OWN} order by updated_at desc, id desc limit $1)
             {PAGE} order by l.updated_at desc, l.id desc"
        ),
        next: formatcp!(
            "with page as ({OWN} and (updated_at, id) < ($2, $3) order by updated_at desc, id desc limit $1)
             {PAGE} order by l.updated_at desc, l.id desc"
        ),
    },
};

pub(crate) const CHANGED_FIRST: Pages = Pages {
    filtered: formatcp!(
        "{MATCHING}, page as (
            select * from matching where ($10::timestamptz is null or (updated_at, id) > ($10, $11))
             order by updated_at asc, id asc limit $12
         ), {COUNTED}
          order by lead.updated_at asc, lead.id asc"
    ),
    all: PlainPages {
        first: formatcp!(
            "with page as ({ALL} order by updated_at asc, id asc limit $1)
             {PAGE} order by l.updated_at asc, l.id asc"
        ),
        next: formatcp!(
            "with page as ({ALL} and (updated_at, id) > ($2, $3) order by updated_at asc, id asc limit $1)
             {PAGE} order by l.updated_at asc, l.id asc"
        ),
    },
    own: PlainPages {
        first: formatcp!(
            "with page as ({OWN} order by updated_at asc, id asc limit $1)
             {PAGE} order by l.updated_at asc, l.id asc"
        ),
        next: formatcp!(
            "with page as ({OWN} and (updated_at, id) > ($2, $3) order by updated_at asc, id asc limit $1)
             {PAGE} order by l.updated_at asc, l.id asc"
        ),
    },
};

pub(crate) const STATEMENTS: &[NamedSql] = &[
    ("newest", NEWEST.filtered),
    ("newest_all_first", NEWEST.all.first),
    ("newest_all_next", NEWEST.all.next),
    ("newest_own_first", NEWEST.own.first),
    ("newest_own_next", NEWEST.own.next),
    ("oldest", OLDEST.filtered),
    ("oldest_all_first", OLDEST.all.first),
    ("oldest_all_next", OLDEST.all.next),
    ("oldest_own_first", OLDEST.own.first),
    ("oldest_own_next", OLDEST.own.next),
    ("changed_last", CHANGED_LAST.filtered),
    ("changed_last_all_first", CHANGED_LAST.all.first),
    ("changed_last_all_next", CHANGED_LAST.all.next),
    ("changed_last_own_first", CHANGED_LAST.own.first),
    ("changed_last_own_next", CHANGED_LAST.own.next),
    ("changed_first", CHANGED_FIRST.filtered),
    ("changed_first_all_first", CHANGED_FIRST.all.first),
    ("changed_first_all_next", CHANGED_FIRST.all.next),
    ("changed_first_own_first", CHANGED_FIRST.own.first),
    ("changed_first_own_next", CHANGED_FIRST.own.next),
];
