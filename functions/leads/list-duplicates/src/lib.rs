//! `GET /api/v1/leads/{id}/duplicates`: the leads that look like the same customer, with the reasons.
use const_format::formatcp;
use leads::{JOIN_LAST_MESSAGE, LEAD_COLUMNS, Lead};
use schemars::JsonSchema;
use serde::Serialize;
use shared::db::Row;
use shared::{Answer, ApiError, Ctx, Operation, Permission, Route, page};

/// Its path, callers, login and statements.
pub const ROUTE: Route = Route {
    name: "list-duplicates",
    path: "/api/v1/leads/{id}/duplicates",
    statements: &[&[("duplicates", SQL)]],
    ..Route::DEFAULT
};

/// Duplicates in an answer: a person looks at each.
const MAX_DUPLICATES: i64 = 20;
/// Leads of the same name whose vehicle is compared: a common name must not cost more with each lead.
const MAX_NAMESAKES: i64 = 100;

/// At least one row if the lead exists; without duplicates its id is null. Each kind of match has an index of its own,
/// since only leakproof operators can use an index under the policies. A blank key is null; a blank name key is empty.
/// A name counts from two words: many people share a first name.
const SQL: &str = formatcp!(
    "with me as (
        select * from leads where id = $1 and deleted_at is null
    ), alike as (
        (select l.id from me join leads l on l.email_key = me.email_key
          where l.id <> me.id and l.deleted_at is null limit $2)
        union
        (select l.id from me join leads l on l.phone_e164 = me.phone_e164
          where l.id <> me.id and l.deleted_at is null limit $2)
        union
        (select namesake.id
           from (select l.id, l.vehicle_id, l.vehicle_of_interest, me.vehicle_id as my_vehicle_id,
                        me.vehicle_of_interest as my_vehicle_of_interest
                   from me join leads l on l.name_key = me.name_key
                  where l.id <> me.id and l.deleted_at is null and strpos(me.name_key, ' ') > 0 limit $3) namesake
          where namesake.vehicle_id = namesake.my_vehicle_id
             or lower(namesake.vehicle_of_interest) = lower(namesake.my_vehicle_of_interest)
          limit $2)
    ), reasoned as (
        select l.*, case when l.email_key = me.email_key then me.email_key end as same_email,
               case when l.phone_e164 = me.phone_e164 then me.phone_e164 end as same_phone,
               case when l.name_key = me.name_key and strpos(me.name_key, ' ') > 0
                         and (l.vehicle_id = me.vehicle_id
                              or lower(l.vehicle_of_interest) = lower(me.vehicle_of_interest))
                    then me.name_key end as same_name_and_vehicle
          from me, alike join leads l on l.id = alike.id
    ), found as (
        select *, (same_email is not null)::int * 4 + (same_phone is not null)::int * 2
                  + (same_name_and_vehicle is not null)::int as strength
          from reasoned order by strength desc, created_at desc, id desc limit $2
    )
    select f.same_email, f.same_phone, f.same_name_and_vehicle, lead.*
      from (select from me) there
      left join (found f join (select {LEAD_COLUMNS} from found l {JOIN_LAST_MESSAGE}) lead on lead.id = f.id) on true
     order by f.strength desc, lead.created_at desc, lead.id desc"
);

#[derive(JsonSchema, Serialize)]
struct Duplicates {
    items: Vec<Duplicate>,
}

#[derive(JsonSchema, Serialize)]
struct Duplicate {
    lead: Lead,
    reasons: Vec<Reason>,
}

/// A reason why two leads look alike.
#[derive(JsonSchema, Serialize)]
struct Reason {
    /// `same_email`, `same_phone` or `same_name_and_vehicle`, strongest first.
    code: &'static str,
    /// The value that both have, in the form that was compared.
    value: String,
}

/// At most 20 leads, strongest match first, of equals the newest first. 404 when the lead does not
/// exist or the caller may not see it.
pub async fn handle(ctx: &Ctx<'_>) -> Result<Answer, ApiError> {
    let scope = ctx.member(&[Permission::LeadsViewAll, Permission::LeadsViewAssigned]).await?;
    let id = ctx.path_id("id")?;
    ctx.no_query()?;
    let rows = scope.query(SQL, &[&id, &MAX_DUPLICATES, &MAX_NAMESAKES]).await?;
    if rows.is_empty() {
        return Err(ApiError::not_found());
    }
    Answer::ok(&Duplicates { items: page::items(&rows)? })
}

/// Inputs and answers, for the API's document.
pub fn operation() -> Operation {
    Operation::member(&ROUTE, &[Permission::LeadsViewAll, Permission::LeadsViewAssigned])
        .summary("List the leads that look like the same customer, with the reasons")
        .describe(
            "At most 20 leads, the strongest match first and the newest of equals. The same e-mail address \
             counts more than the same phone number, and the phone number more than the same name and \
             vehicle. A sales rep gets only leads assigned to them. 404 when the lead does not exist or the \
             caller may not see it.",
        )
        .path_id()
        .ok::<Duplicates>()
}

impl TryFrom<&Row> for Duplicate {
    type Error = ApiError;

    fn try_from(row: &Row) -> Result<Self, Self::Error> {
        let mut reasons = Vec::new();
        for code in ["same_email", "same_phone", "same_name_and_vehicle"] {
            reasons.extend(row.try_get::<_, Option<String>>(code)?.map(|value| Reason { code, value }));
        }
        Ok(Self { lead: Lead::try_from(row)?, reasons })
    }
}
