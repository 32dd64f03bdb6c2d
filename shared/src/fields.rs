//! Reads bodies and queries into types, and reports every invalid field at once.
use std::borrow::Cow;
use std::ops::ControlFlow;

use deserr::{DeserializeError, ErrorKind, IntoValue, MergeWithError, Value, ValueKind, ValuePointerRef};
use jiff::Timestamp;
use serde::{Serialize, Serializer};
use uuid::Uuid;

pub use crate::error::FieldError;
use crate::inline_schema;
use crate::schema::{JsonSchema, Schema, SchemaGenerator};

/// The invalid fields found so far.
#[derive(Debug, Default)]
pub struct FieldErrors(pub Vec<FieldError>);

impl FieldErrors {
    /// One error, for a type that reads itself.
    #[must_use]
    pub fn at(at: ValuePointerRef<'_>, code: &'static str, message: impl Into<String>) -> Self {
        Self(vec![FieldError::new(path(at), code, message)])
    }
}

impl MergeWithError<Self> for FieldErrors {
    fn merge(all: Option<Self>, mut more: Self, _: ValuePointerRef<'_>) -> ControlFlow<Self, Self> {
        let mut all = all.unwrap_or_default();
        all.0.append(&mut more.0);
        ControlFlow::Continue(all)
    }
}

impl DeserializeError for FieldErrors {
    fn error<V: IntoValue>(
        all: Option<Self>,
        error: ErrorKind<'_, V>,
        at: ValuePointerRef<'_>,
    ) -> ControlFlow<Self, Self> {
        let mut all = all.unwrap_or_default();
        all.0.push(match error {
            ErrorKind::IncorrectValueKind { accepted, .. } => {
                FieldError::new(path(at), "type", expected(accepted))
            }
            ErrorKind::MissingField { field } => {
                FieldError::new(path(at.push_key(field)), "required", "is required")
            }
            ErrorKind::UnknownKey { key, .. } => {
                FieldError::new(path(at.push_key(key)), "unknown", "is not a field we know")
            }
            ErrorKind::UnknownValue { accepted, .. } => {
                FieldError::new(path(at), "invalid", format!("must be one of {}", accepted.join(", ")))
            }
            ErrorKind::BadSequenceLen { .. } => FieldError::new(path(at), "invalid", "has the wrong length"),
            ErrorKind::Unexpected { msg } => FieldError::new(path(at), "invalid", msg),
        });
        ControlFlow::Continue(all)
    }
}

/// For a type that explains an invalid value in one sentence, by `#[deserr(try_from(String) = ..)]`.
impl MergeWithError<Invalid> for FieldErrors {
    fn merge(all: Option<Self>, invalid: Invalid, at: ValuePointerRef<'_>) -> ControlFlow<Self, Self> {
        let mut all = all.unwrap_or_default();
        all.0.push(FieldError::new(path(at), "invalid", invalid.0));
        ControlFlow::Continue(all)
    }
}

/// Why a value is not valid: a sentence without its subject, which is the field.
#[derive(Debug, PartialEq, Eq)]
pub struct Invalid(pub String);

impl Invalid {
    /// A reason such as `is not an e-mail address`.
    pub fn because(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

fn path(at: ValuePointerRef<'_>) -> String {
    match at {
        ValuePointerRef::Origin => String::new(),
        ValuePointerRef::Key { key, prev } => match path(*prev) {
            prefix if prefix.is_empty() => key.to_owned(),
            prefix => format!("{prefix}.{key}"),
        },
        ValuePointerRef::Index { index, prev } => format!("{}[{index}]", path(*prev)),
    }
}

fn expected(accepted: &[ValueKind]) -> String {
    let names: Vec<String> = accepted.iter().map(ToString::to_string).collect();
    format!("must be of type {}", names.join(" or "))
}

/// Reads `json` into `T`.
///
/// # Errors
/// Every invalid, missing and unknown field.
pub fn read<T: deserr::Deserr<FieldErrors>>(json: serde_json::Value) -> Result<T, Vec<FieldError>> {
    deserr::deserialize::<T, _, FieldErrors>(json).map_err(|errors| errors.0)
}

/// At least one character that is neither white space nor control; line breaks and tabs are the only control characters.
const TEXT: &str = concat!(
    r"^[^\x00-\x08\x0B\x0C\x0E-\x1F\x7F-\x9F]*",
    r"[^\s\x00-\x1F\x7F-\x9F]",
    r"[^\x00-\x08\x0B\x0C\x0E-\x1F\x7F-\x9F]*$"
);

/// Text of at most `MAX` characters, trimmed, not empty, without control characters other than line breaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, deserr::Deserr)]
#[deserr(try_from(String) = Text::parse -> Invalid)]
pub struct Text<const MAX: usize>(String);

impl<const MAX: usize> Text<MAX> {
    /// Parses `value`, trimming white space around it.
    ///
    /// # Errors
    /// When nothing is left, it is too long, or it has control characters.
    pub fn parse(value: String) -> Result<Self, Invalid> {
        let trimmed = value.trim();
        if trimmed.is_empty() {
            return Err(Invalid::because("must not be empty"));
        }
        if trimmed.chars().count() > MAX {
            return Err(Invalid::because(format!("must have at most {MAX} characters")));
        }
        if trimmed.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
            return Err(Invalid::because("must not contain control characters"));
        }
        Ok(Self(trimmed.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

inline_schema!([const MAX: usize] Text<MAX>, { "type": "string", "minLength": 1, "maxLength": MAX, "pattern": TEXT });

/// A UUID in its hyphenated form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, deserr::Deserr)]
#[deserr(try_from(String) = Id::parse -> Invalid)]
pub struct Id(pub Uuid);

impl Id {
    /// Parses the hyphenated form only, in upper or lower case.
    ///
    /// # Errors
    /// When the text is no UUID in this form.
    pub fn parse(value: String) -> Result<Self, Invalid> {
        let id = Uuid::try_parse(&value).ok().filter(|_| value.len() == uuid::fmt::Hyphenated::LENGTH);
        id.map(Self).ok_or_else(|| Invalid::because("must be a UUID"))
    }
}

inline_schema!(Id, { "type": "string", "format": "uuid" });

/// An RFC 3339 time, any offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, deserr::Deserr)]
#[deserr(try_from(String) = Time::parse -> Invalid)]
pub struct Time(pub Timestamp);

impl Time {
    fn parse(value: String) -> Result<Self, Invalid> {
        value
            .parse()
            .map(Self)
            .map_err(|_| Invalid::because("must be an RFC 3339 time such as 2026-11-20T08:00:00Z"))
    }
}

inline_schema!(Time, { "type": "string", "format": "date-time" });

/// A field of a JSON Merge Patch (RFC 7396): absent, null and a value differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Patch<T> {
    /// The patch does not have the field: it stays as it is.
    #[default]
    Absent,
    /// The patch clears the field.
    Null,
    /// The patch sets the field.
    Value(T),
}

impl<T> Patch<T> {
    /// Whether the patch does not have the field.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// The new value, if the patch has one.
    pub fn value(&self) -> Option<&T> {
        if let Self::Value(value) = self { Some(value) } else { None }
    }

    /// The new value, if the patch has one, by value.
    pub fn into_value(self) -> Option<T> {
        if let Self::Value(value) = self { Some(value) } else { None }
    }
}

/// For a field that always has a value, by `#[deserr(try_from(Patch<..>) = not_null -> Invalid)]`.
///
/// # Errors
/// When the patch would clear it.
pub fn not_null<T>(patch: Patch<T>) -> Result<Patch<T>, Invalid> {
    match patch {
        Patch::Null => Err(Invalid::because("cannot be cleared")),
        patch => Ok(patch),
    }
}

impl<T: deserr::Deserr<FieldErrors>> deserr::Deserr<FieldErrors> for Patch<T> {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        at: ValuePointerRef<'_>,
    ) -> Result<Self, FieldErrors> {
        match value {
            Value::Null => Ok(Self::Null),
            value => T::deserialize_from_value(value, at).map(Self::Value),
        }
    }
}

/// Null for [`Patch::Null`]; skip [`Patch::Absent`] by `skip_serializing_if = "Patch::is_absent"`.
impl<T: Serialize> Serialize for Patch<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value().serialize(serializer)
    }
}

impl<T: JsonSchema> JsonSchema for Patch<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Option::<T>::json_schema(generator)
    }
}

/// A struct whose fields are all [`Patch`]es: it reads a JSON Merge Patch, and writes back the fields it had.
#[macro_export]
macro_rules! merge_patch {
    ($(#[$meta:meta])* $vis:vis struct $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Default, ::serde::Serialize, ::deserr::Deserr, ::schemars::JsonSchema)]
        #[deserr(error = $crate::fields::FieldErrors, deny_unknown_fields)]
        #[schemars(deny_unknown_fields)]
        $vis struct $name {
            $($(#[$field_meta])*
            #[deserr(default)]
            #[serde(skip_serializing_if = "::shared::fields::Patch::is_absent")]
            #[schemars(default)]
            $vis $field: $crate::fields::Patch<$type>),+
        }

        #[allow(dead_code, reason = "not every patch is asked for its names")]
        impl $name {
            /// The names of its fields.
            $vis const FIELDS: &'static [&'static str] = &[$(stringify!($field)),+];
        }
    };
}

/// An enum for a text column with a CHECK. The names are the same in JSON and in SQL.
#[macro_export]
macro_rules! text_enum {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ::deserr::Deserr)]
        #[deserr(try_from(String) = Self::parse -> $crate::fields::Invalid)]
        pub enum $name { $($(#[$variant_meta])* $variant),+ }

        impl $name {
            /// Every name, in the order of the CHECK.
            pub const NAMES: &'static [&'static str] = &[$($text),+];

            /// The name in JSON and in SQL.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// Parses a name, exactly.
            ///
            /// # Errors
            /// When it is none of [`Self::NAMES`].
            pub fn parse(value: String) -> Result<Self, $crate::fields::Invalid> {
                match value.as_str() {
                    $($text => Ok(Self::$variant),)+
                    _ => Err($crate::fields::Invalid::because(format!("must be one of {}", Self::NAMES.join(", ")))),
                }
            }
        }

        impl $crate::schema::JsonSchema for $name {
            fn schema_name() -> ::std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut $crate::schema::SchemaGenerator) -> $crate::schema::Schema {
                $crate::schema::json_schema!({ "type": "string", "enum": Self::NAMES })
            }
        }

        impl ::serde::Serialize for $name {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[derive(Debug, deserr::Deserr)]
    #[deserr(error = FieldErrors, deny_unknown_fields)]
    #[allow(dead_code)]
    struct Sample {
        name: Text<5>,
        #[deserr(default)]
        id: Option<Id>,
        #[deserr(default)]
        note: Patch<Text<5>>,
    }

    #[test]
    fn every_invalid_field_is_reported_at_once() {
        let errors = read::<Sample>(json!({"id": 7, "note": "toolong", "colour": "red"})).unwrap_err();
        let mut reported: Vec<(&str, &str)> = errors.iter().map(|e| (e.field.as_str(), e.code)).collect();
        reported.sort_unstable();
        assert_eq!(
            reported,
            [("colour", "unknown"), ("id", "type"), ("name", "required"), ("note", "invalid")]
        );
    }

    #[test]
    fn absent_null_and_a_value_differ() {
        let note = |json| read::<Sample>(json).unwrap().note;
        assert_eq!(note(json!({"name": "a"})), Patch::Absent);
        assert_eq!(note(json!({"name": "a", "note": null})), Patch::Null);
        assert_eq!(note(json!({"name": "a", "note": " b "})), Patch::Value(Text("b".into())));
    }

    proptest! {
        #[test]
        fn text_is_trimmed_bounded_and_free_of_control_characters(value in ".*") {
            if let Ok(text) = Text::<20>::parse(value.clone()) {
                prop_assert_eq!(text.as_str(), value.trim());
                prop_assert!((1..=20).contains(&text.as_str().chars().count()));
                prop_assert!(!text.as_str().contains('\0'));
            }
        }

        #[test]
        fn an_id_is_its_hyphenated_form_alone(value in "[0-9a-fA-F{}-]{30,40}", id in any::<u128>()) {
            let id = Uuid::from_u128(id);
            prop_assert_eq!(Id::parse(id.to_string()).unwrap().0, id);
            prop_assert!(Id::parse(id.simple().to_string()).is_err());
            if let Ok(parsed) = Id::parse(value.clone()) {
                prop_assert_eq!(parsed.0.to_string(), value.to_lowercase());
            }
        }
    }
}
