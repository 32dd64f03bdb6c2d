//! What a role may do: one table, read by every route.
use std::fmt;

/// A caller's role in the dealership, lowest first: a greater role has the greater rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Sees and answers the leads assigned to them; also everyone whose role we do not know.
    SalesRep,
    /// Sees and edits every lead of the dealership.
    Manager,
    /// Everything a manager may, and deleting.
    Admin,
}

/// Something a route may ask of the caller; the names are `resource:action`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Permission {
    /// See every lead of the dealership.
    LeadsViewAll,
    /// See the leads assigned to oneself.
    LeadsViewAssigned,
    /// Create and change leads.
    LeadsEdit,
    /// Delete leads.
    LeadsDelete,
}

use Permission::{LeadsDelete, LeadsEdit, LeadsViewAll, LeadsViewAssigned};

/// Who may do what. A permission that is not in a role's row is refused.
const GRANTS: [(Role, &[Permission]); 3] = [
    (Role::SalesRep, &[LeadsViewAssigned]),
    (Role::Manager, &[LeadsViewAll, LeadsEdit]),
    (Role::Admin, &[LeadsViewAll, LeadsEdit, LeadsDelete]),
];

impl Role {
    /// Reads a role as Clerk spells it: `org:admin` (version 1 tokens, webhooks), `admin` (version 2 tokens).
    ///
    /// Whatever is not exactly a known role has the least privilege: a missing role, `org:member`, the
    /// legacy `basic_member`, and any role that the dealership made up.
    #[must_use]
    pub fn from_clerk(role: Option<&str>) -> Self {
        let role = role.unwrap_or_default();
        match role.strip_prefix("org:").unwrap_or(role) {
            "admin" => Self::Admin,
            "manager" => Self::Manager,
            _ => Self::SalesRep,
        }
    }

    /// The role as the database and the API spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SalesRep => "sales_rep",
            Self::Manager => "manager",
            Self::Admin => "admin",
        }
    }

    /// Whether the role grants the permission.
    #[must_use]
    pub fn has(self, permission: Permission) -> bool {
        GRANTS.iter().any(|(role, granted)| *role == self && granted.contains(&permission))
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Permission {
    /// The permission's name, for a log line or an answer.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            LeadsViewAll => "leads:view_all",
            LeadsViewAssigned => "leads:view_assigned",
            LeadsEdit => "leads:edit",
            LeadsDelete => "leads:delete",
        }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clerks_spellings_map_to_our_roles() {
        let table = [
            (Some("org:admin"), Role::Admin),
            (Some("admin"), Role::Admin),
            (Some("org:manager"), Role::Manager),
            (Some("manager"), Role::Manager),
            (Some("org:member"), Role::SalesRep),
            (Some("member"), Role::SalesRep),
            (Some("basic_member"), Role::SalesRep),
            (Some("org:sales_rep"), Role::SalesRep),
            // Near misses are not an administrator.
            (Some("Admin"), Role::SalesRep),
            (Some(" admin"), Role::SalesRep),
            (Some("admin\n"), Role::SalesRep),
            (Some("org:org:admin"), Role::SalesRep),
            (Some("team:admin"), Role::SalesRep),
            (Some("administrator"), Role::SalesRep),
            (Some("org:"), Role::SalesRep),
            (Some(""), Role::SalesRep),
            (None, Role::SalesRep),
        ];
        for (spelling, expected) in table {
            assert_eq!(Role::from_clerk(spelling), expected, "{spelling:?}");
        }
    }

    #[test]
    fn roles_rank_and_print() {
        assert!(Role::SalesRep < Role::Manager && Role::Manager < Role::Admin);
        let names = [Role::SalesRep, Role::Manager, Role::Admin].map(|role| role.to_string());
        assert_eq!(names, ["sales_rep", "manager", "admin"]);
        for role in [Role::SalesRep, Role::Manager, Role::Admin] {
            assert!(role == Role::SalesRep || Role::from_clerk(Some(role.as_str())) == role, "{role}");
        }
    }

    #[test]
    fn the_permission_table() {
        let table = [
            (LeadsViewAll, [false, true, true]),
            (LeadsViewAssigned, [true, false, false]),
            (LeadsEdit, [false, true, true]),
            (LeadsDelete, [false, false, true]),
        ];
        for (permission, expected) in table {
            let granted = [Role::SalesRep, Role::Manager, Role::Admin].map(|role| role.has(permission));
            assert_eq!(granted, expected, "{permission}");
        }
    }
}
