//! A row of the file as a lead, checked like one from a person.
use std::collections::BTreeSet;

use deserr::Deserr;
use leads::{
    Company, Email, FirstName, LastName, LeadField, Message, Phone, Source, VehicleOfInterest,
    split_full_name,
};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use shared::error::FieldError;
use shared::fields::{self, FieldErrors};
use uuid::Uuid;

use crate::csv_file::{CsvFile, Record};

/// Other names of our sources, without case, spaces and dashes.
const SOURCES: [(&str, Source); 12] = [
    ("nettside", Source::Website),
    ("web", Source::Website),
    ("epost", Source::Email),
    ("telefon", Source::Phone),
    ("butikk", Source::WalkIn),
    ("oppmøte", Source::WalkIn),
    ("anbefaling", Source::Referral),
    ("finn", Source::Marketplace),
    ("finn.no", Source::Marketplace),
    ("markedsplass", Source::Marketplace),
    ("manuell", Source::Manual),
    ("import", Source::Manual),
];

/// A row that can be imported. Its names are those of the columns.
#[derive(Debug, Serialize)]
pub(crate) struct ValidRow {
    pub(crate) row_number: u32,
    /// The id of the lead, if the row creates one.
    pub(crate) id: Uuid,
    #[serde(flatten)]
    lead: ImportedLead,
}

/// A row in a preview.
#[derive(JsonSchema, Serialize)]
pub(crate) struct SampleRow<'a> {
    row: u32,
    #[serde(flatten)]
    lead: &'a ImportedLead,
}

impl ValidRow {
    pub(crate) fn sample(&self) -> SampleRow<'_> {
        SampleRow { row: self.row_number, lead: &self.lead }
    }
}

/// The fields of a lead that a row can have.
#[derive(Debug, Deserr, JsonSchema, Serialize)]
#[deserr(error = FieldErrors, deny_unknown_fields)]
struct ImportedLead {
    #[deserr(default = Source::Manual)]
    source: Source,
    #[deserr(default)]
    first_name: Option<FirstName>,
    #[deserr(default)]
    last_name: Option<LastName>,
    #[deserr(default)]
    email: Option<Email>,
    #[deserr(default)]
    #[serde(flatten)]
    phone: Option<Phone>,
    #[deserr(default)]
    company: Option<Company>,
    #[deserr(default)]
    message: Option<Message>,
    #[deserr(default)]
    vehicle_of_interest: Option<VehicleOfInterest>,
}

/// One mistake in a row.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct RowError {
    pub(crate) row: u32,
    #[serde(flatten)]
    error: FieldError,
}

/// The rows that can be imported and the mistakes in the others, both in the order of the rows.
pub(crate) fn read_all(file: &CsvFile) -> (Vec<ValidRow>, Vec<RowError>) {
    let (mut valid, mut errors) = (Vec::new(), Vec::new());
    for record in &file.records {
        match read(record) {
            Ok(lead) => valid.push(ValidRow { row_number: record.row, id: Uuid::now_v7(), lead }),
            Err(wrong) => errors.extend(wrong.into_iter().map(|error| RowError { row: record.row, error })),
        }
    }
    (valid, errors)
}

/// The e-mail and phone keys by which a row can duplicate a lead. The database decides whether it does. PostgreSQL's
/// lower case depends on its locale: it is one of the two here.
pub(crate) fn keys(rows: &[ValidRow]) -> (Vec<String>, Vec<String>) {
    let emails = rows.iter().filter_map(|row| row.lead.email.as_ref()).map(Email::as_str);
    let emails = emails.flat_map(|email| [email.to_lowercase(), email.to_ascii_lowercase()]);
    let phones = rows.iter().filter_map(|row| row.lead.phone.as_ref()?.e164.clone());
    (unique(emails), unique(phones))
}

fn unique(keys: impl Iterator<Item = String>) -> Vec<String> {
    keys.collect::<BTreeSet<_>>().into_iter().collect()
}

fn read(record: &Record) -> Result<ImportedLead, Vec<FieldError>> {
    if let Some(damage) = record.damage {
        return Err(vec![FieldError::new("", "invalid", damage)]);
    }
    let mut columns = Map::new();
    for (field, text) in &record.fields {
        let text = match field {
            LeadField::Source => source(text),
            _ => text.clone(),
        };
        columns.insert(field.as_str().to_owned(), Value::String(text));
    }
    if let Some(Value::String(name)) = columns.remove(LeadField::FullName.as_str())
        && !columns.contains_key(LeadField::FirstName.as_str())
        && !columns.contains_key(LeadField::LastName.as_str())
    {
        let (first, last) = split_full_name(&name);
        let parts = [(LeadField::FirstName, first), (LeadField::LastName, last)];
        columns.extend(
            parts.into_iter().filter_map(|(field, part)| Some((field.as_str().to_owned(), part?.into()))),
        );
    }
    let lead: ImportedLead = fields::read(Value::Object(columns))?;
    if !lead.has_contact() {
        let message = "give a name, an e-mail, a phone number or a company";
        return Err(vec![FieldError::new("email", "required", message)]);
    }
    Ok(lead)
}

impl ImportedLead {
    /// The rule of the constraint `leads_contact_check`.
    fn has_contact(&self) -> bool {
        self.first_name.is_some()
            || self.last_name.is_some()
            || self.email.is_some()
            || self.phone.is_some()
            || self.company.is_some()
    }
}

/// The name of a known source; otherwise the text, which is then refused by name.
fn source(text: &str) -> String {
    let name = text.trim().to_lowercase().replace([' ', '-'], "_");
    let called = name.replace('_', "");
    let known = SOURCES.iter().find(|(spelling, _)| *spelling == called);
    known.map_or(name, |(_, source)| source.as_str().to_owned())
}
