//! JSON schemas of the types that a route reads and answers with, for the API's document.
pub use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

/// The schema of a type that reads itself from text. It is written where the type is used, not under a name of its own.
#[macro_export]
macro_rules! inline_schema {
    ([$($bound:tt)*] $name:ty, { $($schema:tt)* }) => {
        impl <$($bound)*> $crate::schema::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> ::std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut $crate::schema::SchemaGenerator) -> $crate::schema::Schema {
                $crate::schema::json_schema!({ $($schema)* })
            }
        }
    };
    ($name:ident, { $($schema:tt)* }) => {
        $crate::inline_schema!([] $name, { $($schema)* });
    };
}
