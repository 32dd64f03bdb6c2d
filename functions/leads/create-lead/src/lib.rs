//! `POST /api/v1/leads`: creates a lead.
use const_format::formatcp;
use deserr::Deserr;
use leads::{
    Attribution, Company, Consent, Email, FirstName, JOIN_LAST_MESSAGE, LEAD_COLUMNS, LastName, Lead,
    Message, Phone, Source, VehicleOfInterest,
};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use shared::fields::{FieldErrors, Id};
use shared::{Answer, ApiError, Ctx, Login, Operation, Permission, Route};
use uuid::Uuid;

/// Its path, callers, login and statements.
pub const ROUTE: Route = Route {
    name: "create-lead",
    method: "POST",
    path: "/api/v1/leads",
    login: Login::Writer,
    constraints: &[leads::CONSTRAINTS],
    statements: &[&[("insert", INSERT), ("replay", REPLAY)]],
    ..Route::DEFAULT
};

/// A new lead. The names are those of the columns.
#[derive(Deserr, JsonSchema, Serialize)]
#[deserr(error = FieldErrors, deny_unknown_fields)]
#[schemars(deny_unknown_fields, extend("anyOf" = one_of_the_contacts()))]
struct NewLead {
    source: Source,
    #[deserr(default)]
    first_name: Option<FirstName>,
    #[deserr(default)]
    last_name: Option<LastName>,
    #[deserr(default)]
    email: Option<Email>,
    #[deserr(default)]
    #[serde(flatten)]
    #[schemars(!flatten)]
    phone: Option<Phone>,
    #[deserr(default)]
    company: Option<Company>,
    #[deserr(default)]
    message: Option<Message>,
    #[deserr(default)]
    vehicle_id: Option<Id>,
    #[deserr(default)]
    vehicle_of_interest: Option<VehicleOfInterest>,
    #[deserr(default)]
    assigned_to: Option<Id>,
    #[deserr(default)]
    #[schemars(default)]
    attribution: Attribution,
    #[deserr(default)]
    #[schemars(default)]
    consent: Consent,
}

/// The rule of `leads_contact_check`: a lead has a name, a way to reach the customer, or a company.
fn one_of_the_contacts() -> Vec<Value> {
    let given = |name: &str| json!({ "required": [name], "properties": { name: { "type": "string" } } });
    ["first_name", "last_name", "email", "phone", "company"].map(given).into()
}

/// Inserts nothing when the idempotency key is taken. Of two requests with one key, the second waits at the primary
/// key.
const INSERT: &str = formatcp!(
    "with taken as (
        insert into idempotency_keys (route, key, request_hash, resource_id)
        select 'create-lead', $2, $3, $1 where $2::text is not null
        on conflict do nothing returning 1
    ), made as (
        insert into leads (id, source, first_name, last_name, email, phone, phone_e164, company, message, vehicle_id,
                           vehicle_of_interest, assigned_to, attribution, consent)
        select $1, r.source, r.first_name, r.last_name, r.email, r.phone, r.phone_e164, r.company, r.message, r.vehicle_id,
               r.vehicle_of_interest, r.assigned_to, jsonb_strip_nulls(r.attribution), jsonb_strip_nulls(r.consent)
          from jsonb_populate_record(null::leads, $4) r
         where $2::text is null or exists (select from taken)
        returning *
    )
    select {LEAD_COLUMNS} from made l {JOIN_LAST_MESSAGE}"
);

const REPLAY: &str = formatcp!(
    "select k.request_hash = $2 as same_request, lead.*
       from idempotency_keys k
       join (select {LEAD_COLUMNS} from leads l {JOIN_LAST_MESSAGE} where l.deleted_at is null) lead
         on lead.id = k.resource_id
      where k.route = 'create-lead' and k.key = $1"
);

/// 201 with the lead; the same `Idempotency-Key` and body return the first lead.
pub async fn handle(ctx: &Ctx<'_>) -> Result<Answer, ApiError> {
    let scope = ctx.member(&[Permission::LeadsEdit]).await?.with_fixed_plan();
    ctx.no_query()?;
    let new: NewLead = ctx.json()?;
    let repeat = ctx.idempotency()?;

    let columns = serde_json::to_value(new).map_err(ApiError::internal)?;
    let mut rows =
        scope.query(INSERT, &[&Uuid::now_v7(), &repeat.key, &repeat.request_hash, &columns]).await?;
    if rows.is_empty() {
        rows = scope.query(REPLAY, &[&repeat.key, &repeat.request_hash]).await?;
        repeat.replayed(&rows)?;
    }
    let lead = Lead::try_from(rows.first().ok_or_else(ApiError::not_found)?)?;
    Ok(Answer::created(format!("/api/v1/leads/{}", lead.id), &lead)?.etag(lead.version))
}

/// Inputs and answers, for the API's document.
pub fn operation() -> Operation {
    Operation::member(&ROUTE, &[Permission::LeadsEdit])
        .summary("Create a lead")
        .describe("The same `Idempotency-Key` with the same body returns the first lead.")
        .json::<NewLead>()
        .idempotency()
        .created::<Lead>()
        .etag()
}
