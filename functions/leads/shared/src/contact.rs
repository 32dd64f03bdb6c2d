//! The ways to reach a customer: e-mail addresses and phone numbers.
use std::borrow::Cow;

use email_address::{EmailAddress, Options};
use phonenumber::{Mode, country};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use shared::fields::{Invalid, Patch};
use shared::inline_schema;
use shared::schema::{JsonSchema, Schema, SchemaGenerator, json_schema};

/// The country of a number without a country code.
const DEFAULT_COUNTRY: country::Id = country::NO;
/// Characters of a phone number as typed, with its extension.
const MAX_PHONE_CHARS: usize = 40;
/// Bytes of an e-mail address (RFC 3696, erratum 1690); the library allows one more.
const MAX_EMAIL_BYTES: usize = 254;
/// A text with a digit and without control characters.
const PHONE: &str = r"^[^\x00-\x1F\x7F-\x9F]*[0-9][^\x00-\x1F\x7F-\x9F]*$";
/// Digits of a search: fewer find too much.
const MIN_SEARCH_DIGITS: usize = 3;

/// An e-mail address (RFC 5321, with a dotted domain), as typed. Duplicates and search use the lower-case form that the
/// database keeps beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, deserr::Deserr)]
#[deserr(try_from(String) = Email::parse -> Invalid)]
pub struct Email(String);

impl Email {
    /// Parses `value`, trimming white space around it.
    ///
    /// # Errors
    /// When it is not an address.
    pub fn parse(value: String) -> Result<Self, Invalid> {
        let options = Options::default().with_required_tld().without_domain_literal().without_display_text();
        let trimmed = value.trim();
        match EmailAddress::parse_with_options(trimmed, options) {
            Ok(_) if trimmed.len() <= MAX_EMAIL_BYTES => Ok(Self(trimmed.to_owned())),
            _ => Err(Invalid::because("is not an e-mail address")),
        }
    }

    /// The address as typed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

inline_schema!(Email, { "type": "string", "format": "email", "maxLength": MAX_EMAIL_BYTES });

/// A phone number as typed, and in E.164 if it is valid. An unusual number is kept, since a person may still be able to
/// call it.
/// It serializes as the two columns that it fills, for a flattened field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, deserr::Deserr)]
#[deserr(try_from(String) = Phone::parse -> Invalid)]
pub struct Phone {
    /// As typed, trimmed.
    #[serde(rename = "phone")]
    pub typed: String,
    /// `+` and up to 15 digits (ITU-T E.164).
    #[serde(rename = "phone_e164")]
    pub e164: Option<String>,
}

impl Phone {
    /// Parses `value`; a number without a country code is Norwegian.
    ///
    /// # Errors
    /// When it has no digit, a control character, or more than 40 characters.
    pub fn parse(value: String) -> Result<Self, Invalid> {
        let typed = value.trim();
        if typed.chars().count() > MAX_PHONE_CHARS || typed.chars().any(char::is_control) {
            return Err(Invalid::because(format!(
                "must have at most {MAX_PHONE_CHARS} characters, none of them control"
            )));
        }
        if !typed.chars().any(|c| c.is_ascii_digit()) {
            return Err(Invalid::because("is not a phone number"));
        }
        let number = phonenumber::parse(Some(DEFAULT_COUNTRY), typed).ok().filter(phonenumber::is_valid);
        let e164 = number.map(|number| number.format().mode(Mode::E164).to_string());
        Ok(Self { typed: typed.to_owned(), e164 })
    }

    /// Loads the numbering plans of all countries, which takes 70 ms at full speed. Call it while the sandbox starts,
    /// or the first request waits for it.
    pub fn warm_up() {
        // Only the loading matters.
        let _ = phonenumber::parse(Some(DEFAULT_COUNTRY), "40000000");
    }

    /// Serializes a patched number as the two columns that it changes; null clears both. For `serialize_with` on a
    /// flattened field that is skipped when absent.
    ///
    /// # Errors
    /// The serializer's own.
    pub fn patch_columns<S: Serializer>(patch: &Patch<Self>, serializer: S) -> Result<S::Ok, S::Error> {
        if let Patch::Value(phone) = patch {
            return phone.serialize(serializer);
        }
        let mut columns = serializer.serialize_map(Some(2))?;
        columns.serialize_entry("phone", &())?;
        columns.serialize_entry("phone_e164", &())?;
        columns.end()
    }
}

/// It deserializes from a text and serializes as the two columns.
impl JsonSchema for Phone {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Phone".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let typed = json_schema!({ "type": "string", "minLength": 1, "maxLength": MAX_PHONE_CHARS, "pattern": PHONE });
        if generator.contract().is_deserialize() {
            return typed;
        }
        json_schema!({
            "type": "object",
            "properties": { "phone": typed, "phone_e164": Option::<String>::json_schema(generator) },
        })
    }
}

/// The start of the E.164 numbers that `q` searches for, if it can be one: `912 34` finds `+4791234567`.
#[must_use]
pub fn phone_prefix(q: &str) -> Option<String> {
    let digits: String = q.chars().filter(char::is_ascii_digit).collect();
    let only_digits = q.chars().all(|c| c.is_ascii_digit() || matches!(c, '+' | ' ' | '-' | '(' | ')' | '.'));
    if !only_digits || digits.len() < MIN_SEARCH_DIGITS {
        return None;
    }
    Some(match digits.strip_prefix("00") {
        _ if q.trim_start().starts_with('+') => format!("+{digits}"),
        Some(rest) => format!("+{rest}"),
        None => format!("+47{digits}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn e164(typed: &str) -> Option<String> {
        Phone::parse(typed.into()).unwrap().e164
    }

    #[test]
    fn a_number_without_a_country_code_is_norwegian() {
        for typed in ["91234567", "912 34 567", "+47 912 34 567", "0047 91234567", " (912) 34-567 "] {
            assert_eq!(e164(typed).as_deref(), Some("+4791234567"), "{typed}");
        }
        assert_eq!(e164("+46 70 123 45 67").as_deref(), Some("+46701234567"));
        assert_eq!(e164("1234"), None, "kept as typed, not understood");
        assert!(Phone::parse("ring me".into()).is_err());
    }

    #[test]
    fn addresses_are_checked() {
        for good in ["kari@example.no", "a.b+c@sub.example.com", " kari@example.no "] {
            assert!(Email::parse(good.into()).is_ok(), "{good}");
        }
        for bad in [
            "",
            "kari",
            "kari@",
            "@example.no",
            "kari@localhost",
            "Kari <kari@example.no>",
            "a b@example.no",
            "kari@example.no\n,x",
        ] {
            assert!(Email::parse(bad.into()).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_address_has_at_most_254_bytes() {
        let label = "a".repeat(63);
        let address = |last: usize| format!("0@{label}.{label}.{label}.{}", "a".repeat(last));
        assert!(Email::parse(address(60)).is_ok());
        assert!(Email::parse(address(61)).is_err());
    }

    #[test]
    fn a_search_for_digits_is_a_prefix_of_a_number() {
        assert_eq!(phone_prefix("912 34").as_deref(), Some("+4791234"));
        assert_eq!(phone_prefix("+46 70").as_deref(), Some("+4670"));
        assert_eq!(phone_prefix("004670").as_deref(), Some("+4670"));
        assert_eq!(phone_prefix("91"), None);
        assert_eq!(phone_prefix("nor123"), None);
    }

    proptest! {
        #[test]
        fn parsing_a_phone_number_never_panics_and_e164_is_e164(value in ".{0,60}") {
            if let Ok(Phone { e164: Some(e164), .. }) = Phone::parse(value) {
                prop_assert!(e164.starts_with('+') && (6..=16).contains(&e164.len()));
                prop_assert!(e164[1..].bytes().all(|b| b.is_ascii_digit()));
                prop_assert_eq!(Phone::parse(e164.clone()).unwrap().e164, Some(e164));
            }
        }

        #[test]
        fn parsing_an_address_never_panics_and_keeps_it(value in ".{0,300}", local in "[a-z]{1,10}") {
            if let Ok(email) = Email::parse(value.clone()) {
                prop_assert_eq!(email.as_str(), value.trim());
                prop_assert!(email.as_str().len() <= 254);
            }
            let address = format!("{local}@example.no");
            prop_assert_eq!(Email::parse(address.clone()), Ok(Email(address)));
        }
    }
}
