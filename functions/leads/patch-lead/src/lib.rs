//! `PATCH /api/v1/leads/{id}`: changes a lead by JSON Merge Patch (RFC 7396).
use const_format::formatcp;
use leads::{
    Attribution, Company, Consent, Email, FirstName, JOIN_LAST_MESSAGE, LEAD_COLUMNS, LastName, Lead,
    LostReason, Message, Phone, Source, Status, VehicleOfInterest,
};
use shared::fields::{Id, Invalid, Patch, not_null};
use shared::{Answer, ApiError, Ctx, Login, Operation, Permission, Route, merge_patch};
use uuid::Uuid;

/// Its path, callers, login and statements.
pub const ROUTE: Route = Route {
    name: "patch-lead",
    method: "PATCH",
    path: "/api/v1/leads/{id}",
    login: Login::Writer,
    constraints: &[leads::CONSTRAINTS],
    statements: &[&[("patch", SQL)]],
    ..Route::DEFAULT
};

merge_patch! {
    /// An absent field stays; null clears a field. A lead always has a source and a status.
    struct LeadPatch {
        #[deserr(try_from(Patch<Source>) = not_null -> Invalid)]
        #[schemars(with = "Source")]
        source: Source,
        #[deserr(try_from(Patch<Status>) = not_null -> Invalid)]
        #[schemars(with = "Status")]
        status: Status,
        lost_reason: LostReason,
        first_name: FirstName,
        last_name: LastName,
        email: Email,
        #[serde(flatten, serialize_with = "Phone::patch_columns")]
        #[schemars(!flatten)]
        phone: Phone,
        company: Company,
        message: Message,
        vehicle_id: Id,
        vehicle_of_interest: VehicleOfInterest,
        assigned_to: Id,
        attribution: Attribution,
        consent: Consent,
    }
}

/// One row if the lead exists; it has the changed lead unless `If-Match` names another version. jsonb_populate_record
/// merges: it takes the fields of the patch and keeps the row's others. A lead that is no longer `lost` loses its
/// reason.
const SQL: &str = formatcp!(
    "with changed as (
        update leads
           set (source, status, lost_reason, first_name, last_name, email, phone, phone_e164, company, message,
                vehicle_id, vehicle_of_interest, assigned_to, attribution, consent) = (
                select p.source, p.status,
                       case when p.status <> 'lost' and not $2 ? 'lost_reason' then null else p.lost_reason end,
                       p.first_name, p.last_name, p.email, p.phone, p.phone_e164, p.company, p.message,
                       p.vehicle_id, p.vehicle_of_interest, p.assigned_to,
                       case when $2->'attribution' = 'null' then '{{}}'
                            else jsonb_strip_nulls(leads.attribution || coalesce($2->'attribution', '{{}}')) end,
                       case when $2->'consent' = 'null' then '{{}}'
                            else jsonb_strip_nulls(leads.consent || coalesce($2->'consent', '{{}}')) end
                  from jsonb_populate_record(leads, $2) p)
         where id = $1 and deleted_at is null and ($3::int[] is null or version = any ($3))
        returning *
    )
    select lead.*
      from (select from leads where id = $1 and deleted_at is null) there
      left join (select {LEAD_COLUMNS} from changed l {JOIN_LAST_MESSAGE}) lead on true"
);

/// 200 with the lead; 404 when it does not exist or the caller may not see it; 409 for a change of status that is not
/// allowed; 412 when `If-Match` names another version. A sales rep may change the leads assigned to them.
pub async fn handle(ctx: &Ctx<'_>) -> Result<Answer, ApiError> {
    let scope = ctx.member(&[Permission::LeadsEdit, Permission::LeadsViewAssigned]).await?.with_fixed_plan();
    let id = ctx.path_id("id")?;
    ctx.no_query()?;
    let patch: LeadPatch = ctx.json()?;

    let patch = serde_json::to_value(patch).map_err(ApiError::internal)?;
    let rows = scope.query(SQL, &[&id, &patch, &ctx.if_match()]).await?;
    let row = rows.first().ok_or_else(ApiError::not_found)?;
    if row.try_get::<_, Option<Uuid>>("id")?.is_none() {
        return Err(ApiError::precondition_failed());
    }
    let lead = Lead::try_from(row)?;
    Ok(Answer::ok(&lead)?.etag(lead.version))
}

/// Inputs and answers, for the API's document.
pub fn operation() -> Operation {
    Operation::member(&ROUTE, &[Permission::LeadsEdit, Permission::LeadsViewAssigned])
        .summary("Change a lead")
        .describe(
            "The body is a JSON Merge Patch (RFC 7396). A sales rep may change the leads assigned to them. \
             404 when the lead does not exist or the caller may not see it; 409 for a change of status that \
             is not allowed; 412 when `If-Match` names another version.",
        )
        .path_id()
        .json::<LeadPatch>()
        .if_match()
        .conflict(&["illegal_transition"])
        .ok::<Lead>()
        .etag()
}
