//! What a role may do: one table, read by every route.
use std::borrow::Cow;
use std::fmt;

use crate::schema::{JsonSchema, Schema, SchemaGenerator, json_schema};
use crate::text_enum;

/// A caller's role in the dealership, from the lowest to the highest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Sees and answers the leads assigned to them. Any unknown role counts as this one.
    SalesRep,
    /// Sees and edits every lead of the dealership.
    Manager,
    /// May do what a manager may, and delete leads, change settings, billing and people.
    Admin,
}

text_enum! {
    /// A permission that a route can demand of the caller; the names are `resource:action`.
    Permission {
        /// See every lead of the dealership.
        LeadsViewAll = "leads:view_all",
        /// See the leads assigned to oneself.
        LeadsViewAssigned = "leads:view_assigned",
        /// Approve a draft before it is sent to a customer.
        LeadsApprove = "leads:approve",
        /// Create and change leads.
        LeadsEdit = "leads:edit",
        /// Delete leads.
        LeadsDelete = "leads:delete",
        /// Take leads out as a file.
        LeadsExport = "leads:export",
        /// See every workflow that runs.
        WorkflowsViewAll = "workflows:view_all",
        /// Stop a workflow.
        WorkflowsCancel = "workflows:cancel",
        /// Change the dealership's settings.
        SettingsManage = "settings:manage",
        /// See and change the dealership's plan and payments.
        SettingsBilling = "settings:billing",
        /// See the figures of the whole dealership.
        AnalyticsViewAll = "analytics:view_all",
        /// See one's own figures.
        AnalyticsViewOwn = "analytics:view_own",
        /// Invite, promote and remove people.
        UsersManage = "users:manage",
    }
}

use Permission::{
    AnalyticsViewAll, AnalyticsViewOwn, LeadsApprove, LeadsDelete, LeadsEdit, LeadsExport, LeadsViewAll,
    LeadsViewAssigned, SettingsBilling, SettingsManage, UsersManage, WorkflowsCancel, WorkflowsViewAll,
};

/// What an admin may: everything. Seeing all leads includes the assigned ones.
const ADMIN: [Permission; 12] = [
    LeadsViewAll,
    LeadsApprove,
    LeadsEdit,
    LeadsDelete,
    LeadsExport,
    WorkflowsViewAll,
    WorkflowsCancel,
    SettingsManage,
    SettingsBilling,
    AnalyticsViewAll,
    AnalyticsViewOwn,
    UsersManage,
];

/// What a manager may.
const MANAGER: [Permission; 7] =
    [LeadsViewAll, LeadsApprove, LeadsEdit, LeadsExport, WorkflowsViewAll, WorkflowsCancel, AnalyticsViewAll];

/// What a sales rep may.
const SALES_REP: [Permission; 2] = [LeadsViewAssigned, AnalyticsViewOwn];

impl Role {
    /// Every role.
    pub const ALL: [Self; 3] = [Self::Admin, Self::Manager, Self::SalesRep];

    /// Reads a role as Clerk spells it: `org:admin` (version 1 tokens, webhooks), `admin` (version 2 tokens).
    ///
    /// Any text that is not exactly a known role is a sales rep: a missing role, `org:member`, the legacy `basic_member`,
    /// and a role that the dealership itself defined.
    #[must_use]
    pub fn from_clerk(role: Option<&str>) -> Self {
        let role = role.unwrap_or_default();
        match role.strip_prefix("org:").unwrap_or(role) {
            "admin" => Self::Admin,
            "manager" => Self::Manager,
            _ => Self::SalesRep,
        }
    }

    /// Reads a role as the database spells it. An unknown name is a sales rep.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        [Self::Admin, Self::Manager].into_iter().find(|role| role.as_str() == name).unwrap_or(Self::SalesRep)
    }

    /// Whether Clerk names a role. An instance without roles sends none, or the legacy `basic_member`; the first member of
    /// a dealership is then an administrator.
    #[must_use]
    pub fn is_named(role: Option<&str>) -> bool {
        !matches!(role.unwrap_or_default(), "" | "basic_member" | "org:basic_member")
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

    /// What the role grants; every other permission is refused.
    #[must_use]
    pub const fn permissions(self) -> &'static [Permission] {
        match self {
            Self::SalesRep => &SALES_REP,
            Self::Manager => &MANAGER,
            Self::Admin => &ADMIN,
        }
    }

    /// Whether the role grants the permission.
    #[must_use]
    pub fn has(self, permission: Permission) -> bool {
        self.permissions().contains(&permission)
    }

    /// Whether the role grants at least one of them.
    #[must_use]
    pub fn has_any(self, permissions: &[Permission]) -> bool {
        permissions.iter().any(|permission| self.has(*permission))
    }
}

impl JsonSchema for Role {
    fn schema_name() -> Cow<'static, str> {
        "Role".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "enum": Self::ALL.map(Self::as_str) })
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    const ALL: [Permission; 13] = [
        LeadsViewAll,
        LeadsViewAssigned,
        LeadsApprove,
        LeadsEdit,
        LeadsDelete,
        LeadsExport,
        WorkflowsViewAll,
        WorkflowsCancel,
        SettingsManage,
        SettingsBilling,
        AnalyticsViewAll,
        AnalyticsViewOwn,
        UsersManage,
    ];

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
            assert_eq!(Role::from_name(role.as_str()), role);
        }
    }

    #[test]
    fn a_name_that_is_no_role_is_the_least() {
        for name in ["", "Admin", "org:admin", " manager", "owner"] {
            assert_eq!(Role::from_name(name), Role::SalesRep, "{name:?}");
        }
    }

    #[test]
    fn admin_has_12_permissions_manager_7_and_sales_rep_2() {
        let mut table = String::new();
        for permission in ALL {
            let granted = Role::ALL.map(|role| if role.has(permission) { role.as_str() } else { "-" });
            let _ = writeln!(
                table,
                "{:<20} {:<7} {:<9} {}",
                permission.as_str(),
                granted[0],
                granted[1],
                granted[2]
            );
        }
        insta::assert_snapshot!(table, @r"
        leads:view_all       admin   manager   -
        leads:view_assigned  -       -         sales_rep
        leads:approve        admin   manager   -
        leads:edit           admin   manager   -
        leads:delete         admin   -         -
        leads:export         admin   manager   -
        workflows:view_all   admin   manager   -
        workflows:cancel     admin   manager   -
        settings:manage      admin   -         -
        settings:billing     admin   -         -
        analytics:view_all   admin   manager   -
        analytics:view_own   admin   -         sales_rep
        users:manage         admin   -         -
        ");
        assert_eq!(ALL.map(Permission::as_str), Permission::NAMES, "a permission is missing here");
        assert_eq!(Role::ALL.map(|role| role.permissions().len()), [12, 7, 2]);
        let granted =
            Role::ALL.map(|role| ALL.into_iter().filter(|permission| role.has(*permission)).count());
        assert_eq!(granted, [12, 7, 2], "a permission is granted twice, and another not at all");
    }

    #[test]
    fn one_of_them_is_enough() {
        let table = [
            (&[LeadsEdit, LeadsDelete][..], true),
            (&[LeadsEdit, LeadsViewAll], true),
            (&[LeadsDelete, UsersManage], false),
            (&[LeadsExport], true),
            (&[LeadsViewAssigned], false),
            (&[], false),
        ];
        for (permissions, expected) in table {
            assert_eq!(Role::Manager.has_any(permissions), expected, "{permissions:?}");
        }
    }
}
