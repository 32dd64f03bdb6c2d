//! `POST /api/v1/leads/{id}/merge`: merges another lead into the one in the path, which survives.
use const_format::formatcp;
use deserr::Deserr;
use jiff::Timestamp;
use leads::{JOIN_LAST_MESSAGE, LEAD_COLUMNS, Lead};
use schemars::JsonSchema;
use serde::Serialize;
use shared::error::FieldError;
use shared::fields::{FieldErrors, Id};
use shared::{Answer, ApiError, Ctx, Login, Operation, Permission, Route};
use uuid::Uuid;

/// Its path, callers, login and statements.
pub const ROUTE: Route = Route {
    name: "merge-lead",
    method: "POST",
    path: "/api/v1/leads/{id}/merge",
    login: Login::Writer,
    constraints: &[leads::CONSTRAINTS],
    statements: &[&[("merge", MERGE), ("replay", REPLAY)]],
    ..Route::DEFAULT
};

#[derive(Deserr, JsonSchema)]
#[deserr(error = FieldErrors, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
struct MergeWith {
    lead_id: Id,
}

#[derive(JsonSchema, Serialize)]
struct Merge {
    id: Uuid,
    /// The lead that was merged; it is hidden.
    lead_id: Uuid,
    survivor: Lead,
    conversations_moved: i32,
    /// The blank fields of the survivor that were filled from the other lead.
    filled: Vec<String>,
    created_at: Timestamp,
    undone_at: Option<Timestamp>,
}

/// Merges nothing when the idempotency key is taken. If the gate refuses, the key is free again. The statement does not
/// see what the gate changes, so the gate returns the survivor and its newest message.
const MERGE: &str = formatcp!(
    "with taken as (
        insert into idempotency_keys (route, key, request_hash, resource_id)
        select 'merge-lead', $2, $3, $1 where $2::text is not null
        on conflict do nothing returning 1
    ), allowed as materialized (
        select $1::uuid as id where $2::text is null or exists (select from taken)
    ), merged as materialized (
        select merge.* from allowed cross join lateral scope.merge_leads(allowed.id, $4, $5, $6) merge
    )
    select (entry).id as merge_id, (entry).merged_id, (entry).filled, (entry).created_at as merged_at, (entry).undone_at,
           cardinality((entry).conversation_ids) as conversations_moved, lead.*
      from merged
     cross join (select {LEAD_COLUMNS} from (select (survivor).* from merged) l
                   left join lateral (select (last_message).* from merged) m on true) lead"
);

const REPLAY: &str = formatcp!(
    "select k.request_hash = $2 and m.survivor_id = $3 as same_request, m.id as merge_id, m.merged_id, m.filled,
            m.created_at as merged_at, m.undone_at, cardinality(m.conversation_ids) as conversations_moved, lead.*
       from idempotency_keys k
       join merges m on m.id = k.resource_id
       join (select {LEAD_COLUMNS} from leads l {JOIN_LAST_MESSAGE} where l.deleted_at is null) lead
         on lead.id = m.survivor_id
      where k.route = 'merge-lead' and k.key = $1"
);

/// 201 with the merge and the survivor's ETag; the same `Idempotency-Key` and request return the first merge. 404 when
/// one of the leads does not exist; 409 when one is merged already; 412 when `If-Match` names another version of the
/// survivor.
pub async fn handle(ctx: &Ctx<'_>) -> Result<Answer, ApiError> {
    let scope = ctx.member(&[Permission::LeadsEdit]).await?;
    let survivor = ctx.path_id("id")?;
    ctx.no_query()?;
    let MergeWith { lead_id: Id(other) } = ctx.json()?;
    if other == survivor {
        return Err(ApiError::invalid(vec![FieldError::new("lead_id", "invalid", "must be another lead")]));
    }
    let repeat = ctx.idempotency()?;

    let merge = Uuid::now_v7();
    let mut rows = scope
        .query(MERGE, &[&merge, &repeat.key, &repeat.request_hash, &survivor, &other, &ctx.if_match()])
        .await?;
    if rows.is_empty() {
        rows = scope.query(REPLAY, &[&repeat.key, &repeat.request_hash, &survivor]).await?;
        repeat.replayed(&rows)?;
    }
    let row = rows.first().ok_or_else(ApiError::not_found)?;
    let merge = Merge {
        id: row.try_get("merge_id")?,
        lead_id: row.try_get("merged_id")?,
        survivor: Lead::try_from(row)?,
        conversations_moved: row.try_get("conversations_moved")?,
        filled: row.try_get("filled")?,
        created_at: row.try_get("merged_at")?,
        undone_at: row.try_get("undone_at")?,
    };
    Ok(Answer::created(format!("/api/v1/leads/{survivor}"), &merge)?.etag(merge.survivor.version))
}

/// Inputs and answers, for the API's document.
pub fn operation() -> Operation {
    Operation::member(&ROUTE, &[Permission::LeadsEdit])
        .summary("Merge another lead into this one")
        .describe(
            "The lead in the path survives. The other lead is hidden, and its messages move to the survivor. \
             The `ETag` is the survivor's. The same `Idempotency-Key` with the same request returns the first \
             merge. 404 when one of the leads does not exist; 409 when one is merged already; 412 when \
             `If-Match` names another version of the survivor.",
        )
        .path_id()
        .json::<MergeWith>()
        .idempotency()
        .if_match()
        .conflict(&["lead_merged"])
        .created::<Merge>()
        .etag()
}
