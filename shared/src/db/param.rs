//! Parameters with their PostgreSQL types. With them a statement needs no round trip to ask for the types.
use jiff::Timestamp;
use serde_json::Value;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

/// A value that can be bound to a statement.
pub trait Param: ToSql + Sync {
    /// The exact column type: a cross-type operator would lose its index under row-level security.
    fn pg_type(&self) -> Type;
}

impl<T: Typed + ToSql + Sync> Param for T {
    fn pg_type(&self) -> Type {
        T::TYPE
    }
}

/// Parameters with their types, as the driver takes them.
pub(super) type Bound<'a> = [(&'a (dyn ToSql + Sync), Type)];

pub(super) fn bind<'a>(params: &[&'a dyn Param]) -> Vec<(&'a (dyn ToSql + Sync), Type)> {
    params.iter().map(|param| (*param as &(dyn ToSql + Sync), param.pg_type())).collect()
}

/// The PostgreSQL type of a Rust type.
pub trait Typed {
    /// The type its values are bound as.
    const TYPE: Type;
}

macro_rules! typed {
    ($($rust:ty => $pg:ident),* $(,)?) => { $(impl Typed for $rust { const TYPE: Type = Type::$pg; })* };
}

typed! {
    bool => BOOL, i32 => INT4, i64 => INT8, str => TEXT, String => TEXT, Timestamp => TIMESTAMPTZ,
    Uuid => UUID, Value => JSONB, Vec<i32> => INT4_ARRAY, Vec<String> => TEXT_ARRAY,
    Vec<u8> => BYTEA, [u8] => BYTEA,
}

impl<T: Typed + ?Sized> Typed for &T {
    const TYPE: Type = T::TYPE;
}

impl<T: Typed> Typed for Option<T> {
    const TYPE: Type = T::TYPE;
}
