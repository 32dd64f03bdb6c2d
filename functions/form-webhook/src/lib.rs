//! `POST /webhooks/form/{dealership_id}`: a lead from a dealership's web site. Anybody can call it, and it
//! tells them nothing: its database user can insert and see no row.
use deserr::Deserr;
use serde::Serialize;
use serde_json::{Map, Value};
use shared::domain::{Attribution, Email, Phone};
use shared::error::{FieldError, StatusCode};
use shared::fields::{self, FieldErrors, Invalid, Text};
use shared::{Answer, ApiError, Caller, Ctx, Login, Route};
use uuid::Uuid;

/// As API Gateway spells it; `tests/it/routes.rs` holds it equal to `template.yaml`.
pub const ROUTE: Route = Route {
    name: "form-webhook",
    method: "POST",
    path: "/webhooks/form/{dealership_id}",
    login: Login::Intake,
    caller: Caller::Public,
};

/// A field that people do not see and bots fill in.
const HONEYPOT: &str = "_gotcha";

/// The fields a form may have, in the names of the columns they fill.
#[derive(Deserr, Serialize)]
#[deserr(error = FieldErrors, deny_unknown_fields)]
struct Form {
    #[deserr(default)]
    first_name: Option<Text<100>>,
    #[deserr(default)]
    last_name: Option<Text<100>>,
    #[deserr(default)]
    email: Option<Email>,
    #[deserr(default)]
    #[serde(flatten)]
    phone: Option<Phone>,
    #[deserr(default)]
    company: Option<Text<200>>,
    #[deserr(default)]
    message: Option<Text<10_000>>,
    #[deserr(default)]
    vehicle_of_interest: Option<Text<200>>,
    #[deserr(default)]
    attribution: Attribution,
    #[deserr(default)]
    consent: Consent,
}

#[derive(Default, Deserr, Serialize)]
#[deserr(error = FieldErrors, deny_unknown_fields)]
struct Consent {
    #[deserr(default)]
    marketing: Option<Checkbox>,
    #[deserr(default)]
    text_version: Option<Text<64>>,
}

/// A checkbox as browsers send it; an unticked one is not sent at all.
#[derive(Deserr, Serialize)]
#[deserr(try_from(String) = Checkbox::parse -> Invalid)]
struct Checkbox(bool);

impl Checkbox {
    fn parse(value: String) -> Result<Self, Invalid> {
        match value.as_str() {
            "on" | "true" | "1" | "yes" => Ok(Self(true)),
            "off" | "false" | "0" | "no" => Ok(Self(false)),
            _ => Err(Invalid::because("must be on or off")),
        }
    }
}

/// Nothing is made when the idempotency key is taken.
const INSERT: &str = "
    with taken as (
        insert into idempotency_keys (route, key, request_hash)
        select 'form-webhook', $1, $2 where $1::text is not null
        on conflict do nothing returning 1
    )
    insert into leads (source, first_name, last_name, email, phone, phone_e164, company, message, vehicle_of_interest,
                       attribution, consent)
    select 'website', r.first_name, r.last_name, r.email, r.phone, r.phone_e164, r.company, r.message, r.vehicle_of_interest,
           jsonb_strip_nulls(r.attribution), jsonb_strip_nulls(r.consent)
      from jsonb_populate_record(null::leads, $3) r
     where $1::text is null or exists (select from taken)";

#[derive(Serialize)]
struct Receipt {
    receipt_id: Uuid,
    status: &'static str,
}

/// 202 with a receipt; a bot gets the same and leaves nothing behind.
pub async fn handle(ctx: &Ctx<'_>) -> Result<Answer, ApiError> {
    let dealership = ctx.path_id("dealership_id")?;
    let mut fields = ctx.form()?;
    let repeat = ctx.idempotency()?;
    // Nothing can be read back, so a repeated key's receipt has to follow from the key.
    let receipt_id =
        repeat.key.as_ref().map_or_else(Uuid::now_v7, |key| Uuid::new_v5(&dealership, key.as_bytes()));

    if fields.remove(HONEYPOT).is_none() {
        group(&mut fields);
        let form: Form = fields::read(Value::Object(fields)).map_err(ApiError::invalid)?;
        if form.email.is_none() && form.phone.is_none() {
            let error = FieldError::new("email", "required", "give an e-mail address or a phone number");
            return Err(ApiError::invalid(vec![error]));
        }
        let columns = serde_json::to_value(form).map_err(ApiError::internal)?;
        ctx.intake(dealership).query(INSERT, &[&repeat.key, &repeat.request_hash, &columns]).await?;
    }
    Answer::json(StatusCode::ACCEPTED, &Receipt { receipt_id, status: "received" })
}

/// A form is flat: gathers `utm_source` and its like under `attribution`, and `consent[x]` under `consent`.
fn group(fields: &mut Map<String, Value>) {
    let (mut attribution, mut consent) = (Map::new(), Map::new());
    for (name, value) in std::mem::take(fields) {
        if Attribution::FIELDS.contains(&name.as_str()) {
            attribution.insert(name, value);
        } else if let Some(purpose) = name.strip_prefix("consent[").and_then(|rest| rest.strip_suffix(']')) {
            consent.insert(purpose.to_owned(), value);
        } else {
            fields.insert(name, value);
        }
    }
    for (name, group) in [("attribution", attribution), ("consent", consent)] {
        if !group.is_empty() {
            fields.insert(name.to_owned(), Value::Object(group));
        }
    }
}
