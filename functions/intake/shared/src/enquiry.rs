//! The meaning of a form's fields: by well-known names, and by the dealership's own mapping.
use std::borrow::Cow;
use std::collections::BTreeMap;

use deserr::{Deserr, IntoValue, Map as _, ValuePointerRef};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::form::{Form, path};
use leads::{
    Attribution, Consent, Email, LeadField, MAX_ATTRIBUTION_CHARS, MAX_COMPANY_CHARS, MAX_MESSAGE_CHARS,
    MAX_NAME_CHARS, MAX_TEXT_VERSION_CHARS, MAX_VEHICLE_CHARS, Phone, lead_field, split_full_name,
};
use shared::fields::{FieldErrors, Invalid};
use shared::schema::{Schema, SchemaGenerator, json_schema};

/// Fields of a mapping.
const MAX_MAPPED: usize = 100;
/// Characters of a field's name in a mapping.
const MAX_MAPPED_CHARS: usize = 200;

/// What a field of a dealership's form means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserr, Serialize)]
#[deserr(try_from(String) = MappedTo::parse -> Invalid)]
#[serde(into = "&'static str")]
pub enum MappedTo {
    /// A field of the lead.
    Field(LeadField),
    /// The customer's consent to marketing.
    MarketingConsent,
    /// Nothing of interest to a sales rep.
    Ignored,
}

impl MappedTo {
    fn parse(value: String) -> Result<Self, Invalid> {
        match value.as_str() {
            "marketing_consent" => Ok(Self::MarketingConsent),
            "ignored" => Ok(Self::Ignored),
            // The source of a form's lead is always the web site.
            "source" => Err(Self::unknown()),
            _ => LeadField::parse(value).map(Self::Field).map_err(|_| Self::unknown()),
        }
    }

    fn unknown() -> Invalid {
        let fields = LeadField::NAMES.iter().filter(|name| **name != LeadField::Source.as_str());
        let names: Vec<&str> = fields.copied().chain(["marketing_consent", "ignored"]).collect();
        Invalid::because(format!("must be one of {}", names.join(", ")))
    }
}

impl From<MappedTo> for &'static str {
    fn from(to: MappedTo) -> Self {
        match to {
            MappedTo::Field(field) => field.as_str(),
            MappedTo::MarketingConsent => "marketing_consent",
            MappedTo::Ignored => "ignored",
        }
    }
}

/// A dealership's own names for the fields of its form, beside the well-known ones: `{"Reg.nr.": "vehicle_of_interest",
/// "Nyhetsbrev": "marketing_consent", "side": "ignored"}`. Case does not matter in names. As a merge patch,
/// `Mapping<Patch<MappedTo>>`, it changes the names that it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mapping<To = MappedTo>(BTreeMap<String, To>);

impl JsonSchema for MappedTo {
    fn schema_name() -> Cow<'static, str> {
        "MappedTo".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let fields = LeadField::NAMES.iter().filter(|name| **name != LeadField::Source.as_str());
        let names: Vec<_> = fields.chain(&["marketing_consent", "ignored"]).collect();
        json_schema!({ "type": "string", "enum": names })
    }
}

impl<To: JsonSchema> JsonSchema for Mapping<To> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Mapping".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "maxProperties": MAX_MAPPED,
            "propertyNames": { "maxLength": MAX_MAPPED_CHARS },
            "additionalProperties": generator.subschema_for::<To>(),
        })
    }
}

impl Default for Mapping {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl Mapping {
    fn meaning(&self, name: &str) -> Option<MappedTo> {
        let path = path(name);
        let own = self.0.get(&plain(name)).or_else(|| self.0.get(&plain(&path))).copied();
        own.or_else(|| match plain(&path).as_str() {
            "consent.marketing" => Some(MappedTo::MarketingConsent),
            path => {
                let last = path.rsplit('.').next().unwrap_or_default();
                lead_field(last).filter(|field| *field != LeadField::Source).map(MappedTo::Field)
            }
        })
    }
}

/// Written by hand, since deserr's own maps do not collect the errors of their values.
impl<To: Deserr<FieldErrors>> Deserr<FieldErrors> for Mapping<To> {
    fn deserialize_from_value<V: IntoValue>(
        value: deserr::Value<V>,
        at: ValuePointerRef<'_>,
    ) -> Result<Self, FieldErrors> {
        let deserr::Value::Map(sent) = value else {
            return Err(FieldErrors::at(at, "type", "must be of type Map"));
        };
        if sent.len() > MAX_MAPPED {
            return Err(FieldErrors::at(at, "invalid", format!("must have at most {MAX_MAPPED} names")));
        }
        let (mut mapped, mut errors) = (BTreeMap::new(), FieldErrors::default());
        for (name, to) in sent.into_iter() {
            let at = at.push_key(&name);
            if name.chars().count() > MAX_MAPPED_CHARS {
                let limit = format!("must have a name of at most {MAX_MAPPED_CHARS} characters");
                errors.0.extend(FieldErrors::at(at, "invalid", limit).0);
            }
            match To::deserialize_from_value(to.into_value(), at) {
                Ok(to) => {
                    mapped.insert(plain(&name), to);
                }
                Err(FieldErrors(more)) => errors.0.extend(more),
            }
        }
        if errors.0.is_empty() { Ok(Self(mapped)) } else { Err(errors) }
    }
}

/// A customer's words as the columns of a lead. No typed text is lost: the message has a line for each field that fits
/// no column.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema, Serialize)]
pub struct Enquiry {
    #[serde(skip_serializing_if = "Option::is_none")]
    first_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<Email>,
    #[serde(flatten)]
    phone: Option<Phone>,
    #[serde(skip_serializing_if = "Option::is_none")]
    company: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vehicle_of_interest: Option<String>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    #[schemars(with = "Option<Attribution>")]
    attribution: Map<String, Value>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    #[schemars(with = "Option<Consent>")]
    consent: Map<String, Value>,
}

impl Enquiry {
    /// Reads a form. Of several fields with one meaning the first that fits counts.
    #[must_use]
    pub fn read(form: &Form, mapping: &Mapping) -> Self {
        let mut enquiry = Self::default();
        let mut messages = Vec::new();
        let mut others = Vec::new();
        for (name, value) in form.fields() {
            let path = path(name);
            let attribution = plain(path.strip_prefix("attribution.").unwrap_or(&path));
            if Attribution::FIELDS.contains(&attribution.as_str()) {
                let value = cut(&clean(value), MAX_ATTRIBUTION_CHARS);
                enquiry.attribution.insert(attribution, value.into());
            } else if path == "consent.text_version" {
                let version = cut(&clean(value), MAX_TEXT_VERSION_CHARS);
                enquiry.consent.insert("text_version".to_owned(), version.into());
            } else if let Some(MappedTo::Field(LeadField::Message)) = mapping.meaning(name) {
                messages.push(clean(value));
            } else if !enquiry.take(mapping.meaning(name), value) {
                others.push(format!("{}: {}", clean(name), clean(value)));
            }
        }
        messages.extend((!others.is_empty()).then(|| others.join("\n")));
        enquiry.message = (!messages.is_empty()).then(|| cut(&messages.join("\n\n"), MAX_MESSAGE_CHARS));
        enquiry
    }

    /// Takes the value if it fits and its place is empty; returns whether it did.
    fn take(&mut self, meaning: Option<MappedTo>, value: &str) -> bool {
        let field = match meaning {
            None => return false,
            Some(MappedTo::Ignored) => return true,
            Some(MappedTo::MarketingConsent) => {
                let Some(agreed) = is_ticked(value) else { return false };
                self.consent.entry("marketing").or_insert(agreed.into());
                return true;
            }
            Some(MappedTo::Field(field)) => field,
        };
        match field {
            LeadField::FirstName => put(&mut self.first_name, value, MAX_NAME_CHARS),
            LeadField::LastName => put(&mut self.last_name, value, MAX_NAME_CHARS),
            LeadField::FullName => self.take_full_name(value),
            LeadField::Company => put(&mut self.company, value, MAX_COMPANY_CHARS),
            LeadField::VehicleOfInterest => put(&mut self.vehicle_of_interest, value, MAX_VEHICLE_CHARS),
            LeadField::Email if self.email.is_none() => {
                self.email = Email::parse(value.to_owned()).ok();
                self.email.is_some()
            }
            LeadField::Phone if self.phone.is_none() => {
                self.phone = Phone::parse(value.to_owned()).ok();
                self.phone.is_some()
            }
            LeadField::Email | LeadField::Phone | LeadField::Message | LeadField::Source => false,
        }
    }

    fn take_full_name(&mut self, name: &str) -> bool {
        let (first, last) = split_full_name(&clean(name));
        let fits =
            |part: &Option<String>| part.as_ref().is_none_or(|part| part.chars().count() <= MAX_NAME_CHARS);
        let fits = self.first_name.is_none() && self.last_name.is_none() && fits(&first) && fits(&last);
        if fits {
            (self.first_name, self.last_name) = (first, last);
        }
        fits
    }
}

fn put(column: &mut Option<String>, value: &str, max_chars: usize) -> bool {
    let fits = column.is_none() && value.chars().count() <= max_chars;
    if fits {
        *column = Some(clean(value));
    }
    fits
}

/// The value of a checkbox, as browsers and form builders send it in English and Norwegian.
fn is_ticked(value: &str) -> Option<bool> {
    match plain(value).as_str() {
        "on" | "true" | "1" | "yes" | "ja" | "x" => Some(true),
        "off" | "false" | "0" | "no" | "nei" => Some(false),
        _ => None,
    }
}

fn plain(text: &str) -> String {
    text.trim().to_lowercase()
}

/// The text without control characters other than line breaks and tabs.
fn clean(text: &str) -> String {
    let odd = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    text.trim().chars().map(|c| if odd(c) { ' ' } else { c }).collect()
}

fn cut(text: &str, max_chars: usize) -> String {
    if text.chars().count() <= max_chars {
        return text.to_owned();
    }
    text.chars().take(max_chars - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use shared::fields;

    fn enquiry(json: Value, mapping: Value) -> Value {
        let form = Form::of(json);
        serde_json::to_value(Enquiry::read(&form, &fields::read(mapping).unwrap())).unwrap()
    }

    #[test]
    fn a_norwegian_form_is_understood_without_a_mapping() {
        let form = json!({
            "Navn": "Kari Anne Nordmann", "E-post": "kari@example.no", "Mobil": "912 34 567", "Firma": "Nordmann AS",
            "Melding": "Er den ledig?", "Bil": "ID.4", "consent[marketing]": "ja", "consent[text_version]": "v3",
            "utm_source": "google",
        });
        assert_eq!(
            enquiry(form, json!({})),
            json!({
                "first_name": "Kari Anne", "last_name": "Nordmann", "email": "kari@example.no",
                "phone": "912 34 567", "phone_e164": "+4791234567", "company": "Nordmann AS",
                "message": "Er den ledig?", "vehicle_of_interest": "ID.4",
                "attribution": {"utm_source": "google"}, "consent": {"marketing": true, "text_version": "v3"},
            })
        );
    }

    #[test]
    fn nested_names_mean_what_their_last_part_does() {
        let form = json!({"customer": {"email": "a@b.example", "first_name": "A"}, "consent": {"marketing": true}, "attribution": {"gclid": "x"}});
        assert_eq!(
            enquiry(form, json!({})),
            json!({"first_name": "A", "email": "a@b.example", "consent": {"marketing": true}, "attribution": {"gclid": "x"}})
        );
    }

    #[test]
    fn what_fits_no_column_is_in_the_message() {
        let form = json!({
            "message": "Hei", "email": "kari@", "telefon": "ring meg", "tlf": "912 34 567", "mobil": "400 00 000",
            "Ønsket tid": "tirsdag", "navn": "x".repeat(101), "consent[marketing]": "kanskje", "source": "api",
        });
        let enquiry = enquiry(form, json!({}));
        assert_eq!(enquiry["phone_e164"], "+4740000000");
        assert_eq!(enquiry.get("email"), None);
        let long = "x".repeat(101);
        assert_eq!(
            enquiry["message"],
            format!(
                "Hei\n\nconsent[marketing]: kanskje\nemail: kari@\nnavn: {long}\nsource: api\ntelefon: ring meg\ntlf: 912 34 567\nØnsket tid: tirsdag"
            )
        );
    }

    #[test]
    fn a_dealerships_own_mapping_comes_first() {
        let form = json!({"Felt 1": "Kari", "field[2]": "kari@example.no", "message": "spam?", "Nyheter": "on", "side": "/x"});
        let mapping = json!({
            "felt 1": "full_name", "FIELD[2]": "email", "message": "ignored", "Nyheter": "marketing_consent", "side": "ignored",
        });
        assert_eq!(
            enquiry(form, mapping),
            json!({"first_name": "Kari", "email": "kari@example.no", "consent": {"marketing": true}})
        );
    }

    #[test]
    fn a_mapping_that_means_nothing_is_refused_whole() {
        let errors =
            fields::read::<Mapping>(json!({"a": "colour", "b": "source", "c": 7, "d": "email"})).unwrap_err();
        let mut fields: Vec<&str> = errors.iter().map(|error| error.field.as_str()).collect();
        fields.sort_unstable();
        assert_eq!(fields, ["a", "b", "c"]);
        let many: Map<String, Value> = (0..101).map(|n| (n.to_string(), json!("email"))).collect();
        assert!(fields::read::<Mapping>(many.into()).is_err());
    }

    proptest! {
        #[test]
        fn every_value_is_somewhere_and_every_column_in_its_bounds(
            form in proptest::collection::btree_map("(navn|e-post|mobil|firma|melding|bil|[a-z]{1,8})", "[a-zæøå0-9@. +]{1,150}", 0..12),
        ) {
            let form: BTreeMap<String, String> = form.into_iter().filter(|(_, value)| !value.trim().is_empty()).collect();
            let read = enquiry(json!(form), json!({}));
            let all: String = read.as_object().unwrap().values().filter_map(Value::as_str).collect::<Vec<_>>().join("\n");
            let words = |text: &str| { let mut w: Vec<String> = text.split_whitespace().map(str::to_owned).collect(); w.sort(); w };
            let found = words(&all);
            for (name, value) in &form {
                if lead_field(name) == Some(LeadField::Source) || Attribution::FIELDS.contains(&name.as_str()) { continue }
                for word in words(value) {
                    prop_assert!(found.iter().any(|known| known.contains(&word)), "{word} of {name} in {read}");
                }
            }
            for (column, max) in [("first_name", 100), ("last_name", 100), ("company", 200), ("vehicle_of_interest", 200), ("message", 10_000)] {
                let length = read.get(column).map_or(1, |value| value.as_str().unwrap().chars().count());
                prop_assert!((1..=max).contains(&length), "{column} has {length}");
            }
        }
    }
}
