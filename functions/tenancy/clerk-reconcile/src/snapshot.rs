//! A row of ours as people read it, and whether it agrees with Clerk.
use std::collections::HashMap;

use jiff::Timestamp;
use shared::Job;
use shared::db::{DbError, NamedSql, Row, Statement};
use tenancy::clerk::{Change, Object, Organization, User};

/// Field names and values of a row; `None` for an empty field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowSnapshot(Vec<(String, Option<String>)>);

const ORGANIZATIONS: &str = "
    select clerk_org_id, name, slug, case when deleted_at is not null then 'yes' end as deleted
      from dealerships where clerk_org_id = any ($1)";

const USERS: &str = "
    select clerk_user_id, first_name, last_name, email, case when deleted_at is not null then 'yes' end as deleted
      from users where clerk_user_id = any ($1)";

/// A role that Clerk does not name follows from who joined first, so it is no difference of its own.
const MEMBERSHIPS: &str = r#"
    select d.clerk_org_id || ' ' || u.clerk_user_id, m.clerk_membership_id as membership,
           case when m.role_is_presumed then 'not named' else m.role end as role,
           to_char(to_timestamp(m.joined_version / 1000.0) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as joined,
           case when m.removed_at is not null then 'yes' end as removed
      from unnest($1::text[], $2::text[]) as asked (organization, person)
      join dealerships d on d.clerk_org_id = asked.organization
      join users u on u.clerk_user_id = asked.person
      join memberships m on m.dealership_id = d.id and m.user_id = u.id"#;

pub(crate) const STATEMENTS: &[NamedSql] = &[
    ("snapshot_organizations", ORGANIZATIONS),
    ("snapshot_users", USERS),
    ("snapshot_memberships", MEMBERSHIPS),
];

/// The Clerk ids of the rows to look at: organizations or people, or both for memberships.
pub(crate) struct Ids {
    object: Object,
    organizations: Vec<String>,
    users: Vec<String>,
}

impl Ids {
    /// The ids that the changes are about; all changes are about objects of this kind.
    pub(crate) fn of<'c>(object: Object, changes: impl IntoIterator<Item = &'c Change>) -> Self {
        let mut ids = Self { object, organizations: Vec::new(), users: Vec::new() };
        for change in changes {
            ids.organizations.extend(change.organization_id().map(str::to_owned));
            ids.users.extend(change.user_id().map(str::to_owned));
        }
        ids
    }

    /// The statement that reads the rows, for [`RowSnapshot::of`].
    pub(crate) fn statement(&self) -> Statement<'_> {
        match self.object {
            Object::Organization => (ORGANIZATIONS, vec![&self.organizations]),
            Object::User => (USERS, vec![&self.users]),
            Object::Membership => (MEMBERSHIPS, vec![&self.organizations, &self.users]),
        }
    }

    /// The rows that exist, by [`clerk_ids`].
    pub(crate) async fn snapshots(&self, job: &Job) -> Result<HashMap<String, RowSnapshot>, DbError> {
        let (sql, params) = self.statement();
        let rows = job.provisioning().query(sql, &params).await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, RowSnapshot::of(row)?))).collect()
    }
}

/// The Clerk ids that a change is about, separated by a space: the organization's, the person's, or of a membership both.
pub(crate) fn clerk_ids(change: &Change) -> String {
    [change.organization_id(), change.user_id()].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

impl RowSnapshot {
    /// The snapshot of a row of [`Ids::statement`].
    pub(crate) fn of(row: &Row) -> Result<Self, DbError> {
        let fields = row.columns().iter().enumerate().skip(1);
        let fields = fields.map(|(number, column)| Ok((column.name().to_owned(), row.try_get(number)?)));
        fields.collect::<Result<_, DbError>>().map(Self)
    }

    /// The value of a field.
    #[must_use]
    pub fn get(&self, field: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == field)?.1.as_deref()
    }

    /// The names of the fields.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// Whether the object still exists.
    fn is_living(&self) -> bool {
        self.get("deleted").is_none() && self.get("removed").is_none()
    }

    /// Whether the row is as the change would leave it.
    pub(crate) fn agrees(&self, change: &Change) -> bool {
        let is_living = self.is_living();
        match change {
            Change::PutOrganization { organization: Organization { id: _, name, slug }, .. } => {
                is_living
                    && (name.is_none() || self.get("name") == name.as_deref())
                    && self.get("slug") == slug.as_deref()
            }
            Change::PutUser { user: User { id: _, email, first_name, last_name }, .. } => {
                let fields = [("email", email), ("first_name", first_name), ("last_name", last_name)];
                is_living && fields.iter().all(|(field, value)| self.get(field) == value.as_deref())
            }
            Change::PutMembership { membership, .. } => {
                let joined: Option<Timestamp> = self.get("joined").and_then(|joined| joined.parse().ok());
                let joined_agrees = membership
                    .created_at
                    .is_none_or(|created| joined.is_some_and(|joined| joined.as_millisecond() <= created));
                is_living
                    && joined_agrees
                    && self.get("membership") == membership.id.as_deref()
                    && self.get("role") == Some(membership.role.unwrap_or("not named"))
            }
            Change::DeleteOrganization { .. }
            | Change::DeleteUser { .. }
            | Change::DeleteMembership { .. } => !is_living,
        }
    }
}
