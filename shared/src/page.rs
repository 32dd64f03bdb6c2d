//! Keyset pages: a page starts after the last row of the one before, wherever new rows have landed since.
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use uuid::Uuid;

use crate::db::Row;
use crate::error::{ApiError, FieldError};
use crate::fields::Invalid;
use crate::inline_schema;
use crate::route::Route;

/// Rows of a page unless the caller says otherwise.
const DEFAULT_LIMIT: i64 = 50;
/// Rows of a page at most.
const MAX_LIMIT: i64 = 100;

/// How many rows a page has: 1 to 100, 50 by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, deserr::Deserr)]
#[deserr(try_from(String) = Limit::parse -> Invalid)]
pub struct Limit(i64);

impl Limit {
    fn parse(value: String) -> Result<Self, Invalid> {
        let limit = value.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
        limit.map(Self).ok_or_else(|| Invalid::because(format!("must be a number from 1 to {MAX_LIMIT}")))
    }

    /// One row more than the page has, to see whether there is a next page.
    #[must_use]
    pub fn plus_one(self) -> i64 {
        self.0 + 1
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self(DEFAULT_LIMIT)
    }
}

inline_schema!(Limit, { "type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT });

/// A list in one of its orders. Cursors carry it, so that none of another list or order is taken for one of this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Order(u32);

impl Order {
    /// The order `sort` of a route's list: the hash (32-bit FNV-1a) of both names.
    #[must_use]
    pub const fn of(route: &Route, sort: &str) -> Self {
        Self(fnv(fnv(fnv(FNV_OFFSET, route.name.as_bytes()), b" "), sort.as_bytes()))
    }
}

const FNV_OFFSET: u32 = 0x811c_9dc5;
const FNV_PRIME: u32 = 0x0100_0193;

const fn fnv(mut hash: u32, bytes: &[u8]) -> u32 {
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u32).wrapping_mul(FNV_PRIME);
        at += 1;
    }
    hash
}

/// Where a page starts: after the row with this time and id, in this order. Opaque to callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, deserr::Deserr)]
#[deserr(try_from(String) = Cursor::parse -> Invalid)]
pub struct Cursor {
    /// Which list and order it belongs to; a cursor of another one is not valid.
    pub order: Order,
    /// The row's time, which PostgreSQL keeps in microseconds.
    pub at: Timestamp,
    /// The row's id.
    pub id: Uuid,
}

inline_schema!(Cursor, { "type": "string", "pattern": "^[A-Za-z0-9_-]{38}$" });

impl Cursor {
    fn parse(value: String) -> Result<Self, Invalid> {
        Self::decode(&value).ok_or_else(|| Invalid::because("is not a cursor of ours"))
    }

    fn decode(value: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(value).ok()?;
        let (order, rest) = bytes.split_first_chunk()?;
        let (at, id) = rest.split_first_chunk()?;
        let at = Timestamp::from_microsecond(i64::from_be_bytes(*at)).ok()?;
        Some(Self { order: Order(u32::from_be_bytes(*order)), at, id: Uuid::from_slice(id).ok()? })
    }

    /// Where to start in this order, if anywhere.
    ///
    /// # Errors
    /// 400 for the cursor of another order.
    pub fn in_order(cursor: Option<Self>, order: Order) -> Result<Option<Self>, ApiError> {
        if cursor.is_none_or(|cursor| cursor.order == order) {
            return Ok(cursor);
        }
        let error = FieldError::new("cursor", "invalid", "belongs to another list or sort order");
        Err(ApiError::bad_parameters(vec![error]))
    }

    /// The text that callers pass back.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut bytes = self.order.0.to_be_bytes().to_vec();
        bytes.extend(self.at.as_microsecond().to_be_bytes());
        bytes.extend(self.id.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }
}

/// The items of `rows`. A row without an id stands for no item: a left join makes one when nothing matched.
///
/// # Errors
/// When a row is not a `T`.
pub fn items<T>(rows: &[Row]) -> Result<Vec<T>, ApiError>
where
    T: for<'r> TryFrom<&'r Row, Error: Into<ApiError>>,
{
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        if row.try_get::<_, Option<Uuid>>("id")?.is_some() {
            items.push(T::try_from(row).map_err(Into::into)?);
        }
    }
    Ok(items)
}

/// Cuts `items` to a page and returns the cursor of its last row, if there was one item more than the page holds.
pub fn cut<T>(items: &mut Vec<T>, limit: Limit, cursor: impl Fn(&T) -> Cursor) -> Option<String> {
    let more = items.len() as i64 > limit.0;
    items.truncate(usize::try_from(limit.0).unwrap_or_default());
    items.last().filter(|_| more).map(|last| cursor(last).encode())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_cursor_survives_the_round_trip(order: u32, micros in -1_000_000_000_000_000i64..4_000_000_000_000_000, id in any::<u128>()) {
            let cursor = Cursor { order: Order(order), at: Timestamp::from_microsecond(micros).unwrap(), id: Uuid::from_u128(id) };
            prop_assert_eq!(Cursor::parse(cursor.encode()), Ok(cursor));
        }

        #[test]
        fn any_other_text_is_no_cursor_and_no_panic(value in ".{0,80}") {
            if let Ok(cursor) = Cursor::parse(value.clone()) {
                prop_assert_eq!(cursor.encode(), value);
            }
        }

        #[test]
        fn a_limit_is_1_to_100(value in any::<i64>()) {
            prop_assert_eq!(Limit::parse(value.to_string()).is_ok(), (1..=100).contains(&value));
        }
    }
}
