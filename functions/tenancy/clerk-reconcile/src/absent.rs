//! Our rows that Clerk's lists lack.
use std::collections::HashSet;

use jiff::Timestamp;
use shared::Job;
use shared::auth::Role;
use shared::db::{DbError, NamedSql, Row};
use tenancy::clerk::{Change, Membership, Object, Organization, User};
use uuid::Uuid;

/// Rows read at once.
const BATCH: i64 = 1_000;

/// `last_confirmed_at` is the last time at which Clerk or a token confirmed the row.
const ORGANIZATIONS: &str = "
    select clerk_org_id, greatest(to_timestamp(greatest(clerk_version, embedded_version) / 1000.0), created_at) as last_confirmed_at
      from dealerships
     where deleted_at is null and clerk_org_id > $1 and ($2::text is null or clerk_org_id = $2)
     order by clerk_org_id limit $3";

const USERS: &str = "
    select clerk_user_id, greatest(to_timestamp(greatest(clerk_version, embedded_version) / 1000.0), created_at) as last_confirmed_at
      from users
     where deleted_at is null and clerk_user_id > $1
       and ($2::text is null or id in (select m.user_id from memberships m
                                        where m.dealership_id = (select id from dealerships where clerk_org_id = $2)
                                          and m.removed_at is null))
     order by clerk_user_id limit $3";

/// Cuts the page before it joins, or every page would join all rows. Memberships whose organization or person has ended
/// are in the page too: without them it could be empty before the last one.
const MEMBERSHIPS: &str = "
    select m.dealership_id, m.user_id, d.clerk_org_id, u.clerk_user_id, m.clerk_membership_id,
           case when not m.role_is_presumed then m.role end as role,
           greatest(to_timestamp(m.clerk_version / 1000.0), m.confirmed_at, m.created_at) as last_confirmed_at,
           d.deleted_at is null and u.deleted_at is null as is_living
      from (select * from memberships
             where (dealership_id, user_id) > ($1, $2) and removed_at is null
               and ($3::text is null or dealership_id = (select id from dealerships where clerk_org_id = $3))
             order by dealership_id, user_id limit $4) m
      join dealerships d on d.id = m.dealership_id
      join users u on u.id = m.user_id
     order by m.dealership_id, m.user_id";

pub(crate) const STATEMENTS: &[NamedSql] =
    &[("absent_organizations", ORGANIZATIONS), ("absent_users", USERS), ("absent_memberships", MEMBERSHIPS)];

/// The Clerk ids in the lists; of a membership the organization's and the person's, as [`crate::snapshot::clerk_ids`].
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) organizations: HashSet<String>,
    pub(crate) users: HashSet<String>,
    pub(crate) memberships: HashSet<String>,
}

/// One of our rows that is in no list.
pub(crate) struct Absent {
    pub(crate) object: Object,
    /// The last time at which Clerk or a token confirmed the row.
    pub(crate) last_confirmed_at: Timestamp,
    organization: Option<String>,
    user: Option<String>,
    membership: Option<String>,
    role: Option<&'static str>,
}

impl Seen {
    pub(crate) fn of(&mut self, object: Object) -> &mut HashSet<String> {
        match object {
            Object::Organization => &mut self.organizations,
            Object::User => &mut self.users,
            Object::Membership => &mut self.memberships,
        }
    }

    /// Our rows that the lists lack: memberships, then people, then organizations. With `only` a Clerk id, those of this
    /// organization alone. Memberships that end with their organization are left out.
    pub(crate) async fn absent(&self, job: &Job, only: Option<&str>) -> Result<Vec<Absent>, DbError> {
        let mut absent = Vec::new();
        let mut after = (Uuid::nil(), Uuid::nil());
        loop {
            let rows = job.provisioning().query(MEMBERSHIPS, &[&after.0, &after.1, &only, &BATCH]).await?;
            let Some(last) = rows.last() else { break };
            after = (last.try_get("dealership_id")?, last.try_get("user_id")?);
            for row in &rows {
                let one = Absent::membership(row)?;
                let (organization, ids) = (one.organization.as_deref().unwrap_or_default(), one.clerk_ids());
                let is_living: bool = row.try_get("is_living")?;
                if is_living && self.organizations.contains(organization) && !self.memberships.contains(&ids)
                {
                    absent.push(one);
                }
            }
        }
        for (object, sql, seen) in
            [(Object::User, USERS, &self.users), (Object::Organization, ORGANIZATIONS, &self.organizations)]
        {
            let mut after = String::new();
            loop {
                let rows = job.provisioning().query(sql, &[&after, &only, &BATCH]).await?;
                let Some(last) = rows.last() else { break };
                after = last.try_get(0)?;
                for row in &rows {
                    let id: String = row.try_get(0)?;
                    if !seen.contains(&id) {
                        absent.push(Absent::named(object, id, row.try_get("last_confirmed_at")?));
                    }
                }
            }
        }
        Ok(absent)
    }
}

impl Absent {
    fn named(object: Object, id: String, last_confirmed_at: Timestamp) -> Self {
        let (organization, user) = match object {
            Object::User => (None, Some(id)),
            Object::Organization | Object::Membership => (Some(id), None),
        };
        Self { object, last_confirmed_at, organization, user, membership: None, role: None }
    }

    fn membership(row: &Row) -> Result<Self, DbError> {
        let role: Option<&str> = row.try_get("role")?;
        Ok(Self {
            object: Object::Membership,
            last_confirmed_at: row.try_get("last_confirmed_at")?,
            organization: row.try_get("clerk_org_id")?,
            user: row.try_get("clerk_user_id")?,
            membership: row.try_get("clerk_membership_id")?,
            role: role.map(|role| Role::from_name(role).as_str()),
        })
    }

    /// The Clerk ids of the organization and the person.
    pub(crate) fn ids(&self) -> (&str, &str) {
        (self.organization.as_deref().unwrap_or_default(), self.user.as_deref().unwrap_or_default())
    }

    /// As [`crate::snapshot::clerk_ids`].
    pub(crate) fn clerk_ids(&self) -> String {
        let (organization, user) = self.ids();
        format!("{organization} {user}").trim().to_owned()
    }

    /// The event that should have come: the end of the object at `at`, in milliseconds since 1970.
    pub(crate) fn end(self, at: i64) -> Change {
        let (organization, user) = (self.organization.unwrap_or_default(), self.user.unwrap_or_default());
        match self.object {
            Object::Organization => Change::DeleteOrganization { id: organization, at },
            Object::User => Change::DeleteUser { id: user, at },
            Object::Membership => {
                // Copies without a name change nothing.
                let organization = Organization { id: organization, name: None, slug: None };
                let user = User { id: user, email: None, first_name: None, last_name: None };
                let (id, role) = (self.membership, self.role);
                let membership = Membership { id, organization, user, role, created_at: None };
                Change::DeleteMembership { membership, at }
            }
        }
    }
}
