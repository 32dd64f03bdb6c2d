//! `GET /api/v1/me`: the caller, their dealership and their permissions.
use schemars::JsonSchema;
use serde::Serialize;
use shared::auth::Role;
use shared::{Answer, ApiError, Ctx, Operation, Permission, Route};
use uuid::Uuid;

/// Its path, callers, login and statements.
pub const ROUTE: Route =
    Route { name: "me", path: "/api/v1/me", statements: &[&[("me", SQL)]], ..Route::DEFAULT };

/// Only the caller's row, although the policy shows their colleagues too. The role is the one that the policies use,
/// not the token's.
const SQL: &str = "
    select u.id as user_id, u.clerk_user_id, u.first_name, u.last_name, u.email,
           d.id as dealership_id, d.clerk_org_id, d.name, d.slug, d.subscription_tier, d.subscription_status,
           scope.role() as role
      from users u, dealerships d
     where u.id = (select scope.user_id()) and d.id = (select scope.dealership_id())";

#[derive(JsonSchema, Serialize)]
struct Me<'a> {
    user: User,
    dealership: Dealership,
    #[schemars(with = "Role")]
    role: &'static str,
    permissions: &'static [Permission],
    /// The custom permissions in Clerk's token; they grant nothing.
    custom_permissions: &'a [String],
}

/// Names and e-mail address are null until Clerk has sent them.
#[derive(JsonSchema, Serialize)]
struct User {
    id: Uuid,
    clerk_user_id: String,
    first_name: Option<String>,
    last_name: Option<String>,
    email: Option<String>,
}

#[derive(JsonSchema, Serialize)]
#[schemars(rename = "MyDealership")]
struct Dealership {
    id: Uuid,
    clerk_org_id: String,
    name: String,
    slug: Option<String>,
    subscription_tier: String,
    subscription_status: String,
}

/// The caller; every member may ask.
pub async fn handle(ctx: &Ctx<'_>) -> Result<Answer, ApiError> {
    let scope = ctx.any_member().await?.with_fixed_plan();
    ctx.no_query()?;
    let rows = scope.query(SQL, &[]).await?;
    let row = rows.first().ok_or_else(ApiError::not_found)?;
    let role = Role::from_name(row.try_get("role")?);
    Answer::ok(&Me {
        user: User {
            id: row.try_get("user_id")?,
            clerk_user_id: row.try_get("clerk_user_id")?,
            first_name: row.try_get("first_name")?,
            last_name: row.try_get("last_name")?,
            email: row.try_get("email")?,
        },
        dealership: Dealership {
            id: row.try_get("dealership_id")?,
            clerk_org_id: row.try_get("clerk_org_id")?,
            name: row.try_get("name")?,
            slug: row.try_get("slug")?,
            subscription_tier: row.try_get("subscription_tier")?,
            subscription_status: row.try_get("subscription_status")?,
        },
        role: role.as_str(),
        permissions: role.permissions(),
        custom_permissions: scope.custom_permissions(),
    })
}

/// Inputs and answers, for the API's document.
pub fn operation() -> Operation {
    Operation::any_member(&ROUTE)
        .summary("Get the caller, their dealership and their permissions")
        .ok::<Me<'_>>()
}
