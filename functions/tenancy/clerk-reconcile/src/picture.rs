//! What one of our rows says, as people read it, and whether Clerk says the same.
use std::collections::HashMap;

use jiff::Timestamp;
use shared::Job;
use shared::db::{DbError, Row, Statement};
use tenancy::clerk::{Change, Object, Organization, User};

/// The fields of a row by their names; none of an empty one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture(Vec<(String, Option<String>)>);

const ORGANIZATIONS: &str = "
    select clerk_org_id, name, slug, case when deleted_at is not null then 'yes' end as deleted
      from dealerships where clerk_org_id = any ($1)";

const USERS: &str = "
    select clerk_user_id, first_name, last_name, email, case when deleted_at is not null then 'yes' end as deleted
      from users where clerk_user_id = any ($1)";

/// Where Clerk names no role it follows from who joined first, so it is not told by itself.
const MEMBERSHIPS: &str = r#"
    select d.clerk_org_id || ' ' || u.clerk_user_id, m.clerk_membership_id as membership,
           case when m.role_is_presumed then 'not named' else m.role end as role,
           to_char(to_timestamp(m.joined_version / 1000.0) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as joined,
           case when m.removed_at is not null then 'yes' end as removed
      from unnest($1::text[], $2::text[]) as asked (organization, person)
      join dealerships d on d.clerk_org_id = asked.organization
      join users u on u.clerk_user_id = asked.person
      join memberships m on m.dealership_id = d.id and m.user_id = u.id"#;

/// The Clerk ids of which rows to look at: organizations or people, or both for memberships.
pub(crate) struct Ids {
    object: Object,
    organizations: Vec<String>,
    users: Vec<String>,
}

impl Ids {
    /// What the changes are about, all of one kind.
    pub(crate) fn of<'c>(object: Object, changes: impl IntoIterator<Item = &'c Change>) -> Self {
        let mut ids = Self { object, organizations: Vec::new(), users: Vec::new() };
        for change in changes {
            ids.organizations.extend(change.organization_id().map(str::to_owned));
            ids.users.extend(change.user_id().map(str::to_owned));
        }
        ids
    }

    /// The statement that takes the pictures.
    pub(crate) fn statement(&self) -> Statement<'_> {
        match self.object {
            Object::Organization => (ORGANIZATIONS, vec![&self.organizations]),
            Object::User => (USERS, vec![&self.users]),
            Object::Membership => (MEMBERSHIPS, vec![&self.organizations, &self.users]),
        }
    }

    /// The pictures of those that we have, by [`who`].
    pub(crate) async fn pictures(&self, job: &Job) -> Result<HashMap<String, Picture>, DbError> {
        let (sql, params) = self.statement();
        let rows = job.provisioning().query(sql, &params).await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, Picture::of(row)?))).collect()
    }
}

/// Whom a change is about, in Clerk's ids.
pub(crate) fn who(change: &Change) -> String {
    [change.organization_id(), change.user_id()].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

impl Picture {
    /// Of a row of one of the statements.
    pub(crate) fn of(row: &Row) -> Result<Self, DbError> {
        let fields = row.columns().iter().enumerate().skip(1);
        let fields = fields.map(|(number, column)| Ok((column.name().to_owned(), row.try_get(number)?)));
        fields.collect::<Result<_, DbError>>().map(Self)
    }

    /// What a field says.
    #[must_use]
    pub fn get(&self, field: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == field)?.1.as_deref()
    }

    /// The names of the fields.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// Whether it is of somebody or something that is still there.
    pub(crate) fn is_living(&self) -> bool {
        self.get("deleted").is_none() && self.get("removed").is_none()
    }

    /// Whether the row says what Clerk asserts.
    pub(crate) fn agrees(&self, change: &Change) -> bool {
        let living = self.is_living();
        match change {
            Change::PutOrganization { organization: Organization { id: _, name, slug }, .. } => {
                living
                    && (name.is_none() || self.get("name") == name.as_deref())
                    && self.get("slug") == slug.as_deref()
            }
            Change::PutUser { user: User { id: _, email, first_name, last_name }, .. } => {
                let told = [("email", email), ("first_name", first_name), ("last_name", last_name)];
                living && told.iter().all(|(field, told)| self.get(field) == told.as_deref())
            }
            Change::PutMembership { membership, .. } => {
                let joined: Option<Timestamp> = self.get("joined").and_then(|joined| joined.parse().ok());
                let knows_when = membership
                    .created_at
                    .is_none_or(|created| joined.is_some_and(|joined| joined.as_millisecond() <= created));
                living
                    && knows_when
                    && self.get("membership") == membership.id.as_deref()
                    && self.get("role") == Some(membership.role.unwrap_or("not named"))
            }
            Change::DeleteOrganization { .. }
            | Change::DeleteUser { .. }
            | Change::DeleteMembership { .. } => !living,
        }
    }
}
