//! Gates: the first statement of every transaction says for whom it runs.
use uuid::Uuid;

use super::Param;
use crate::auth::{Claims, Organization, Role};

/// For whom the statements run. Each kind of caller has its own gate function in `migrations/schema.sql`, so only a new
/// kind of caller needs a variant here; a new area of functions does not.
pub(crate) enum Gate {
    /// A member of a dealership, by verified claims.
    Member {
        claims: Box<Claims>,
        organization: Organization,
        /// The token's role. Without one the database's role counts, which must be one of `allowed`.
        role: Option<&'static str>,
        allowed: Vec<String>,
    },
    /// The public form of this dealership.
    Intake(Uuid),
    /// Clerk's webhooks, and the job that reconciles with Clerk.
    Provisioning,
    /// The job that parses submissions: `Some(id)` of that dealership, `None` lists the dealerships that have some.
    Parsing(Option<Uuid>),
}

impl Gate {
    /// The gate of a member whose role must be one of `allowed`.
    pub(crate) fn member(claims: Claims, organization: Organization, allowed: &[Role]) -> Self {
        let role = organization.names_role.then(|| organization.role.as_str());
        let allowed = allowed.iter().map(|role| role.as_str().to_owned()).collect();
        Self::Member { claims: Box::new(claims), organization, role, allowed }
    }

    /// The statement that passes the gate; its first column is the dealership, if there is one.
    pub(super) fn statement(&self) -> (&'static str, Vec<&dyn Param>) {
        match self {
            Self::Member { claims, organization, role: Some(role), .. } => (
                "select scope.enter_member($1, $2, $3, $4)",
                vec![&organization.id, &claims.user_id, role, &claims.issued_at],
            ),
            Self::Member { claims, organization, role: None, allowed } => (
                "select scope.require_role(scope.enter_member($1, $2, null, $3), $4)",
                vec![&organization.id, &claims.user_id, &claims.issued_at, allowed],
            ),
            Self::Intake(dealership) => ("select scope.enter_intake($1)", vec![dealership]),
            Self::Provisioning => ("select scope.enter_provisioning()", vec![]),
            Self::Parsing(dealership) => ("select scope.enter_parsing($1)", vec![dealership]),
        }
    }

    /// The statement that creates the dealership, user and membership which a member's claims vouch for.
    pub(super) fn provisioning(&self) -> Option<(&'static str, Vec<&dyn Param>)> {
        let Self::Member { claims, organization, role, .. } = self else { return None };
        Some((
            "select scope.provision($1, $2, $3, $4, $5)",
            vec![&organization.id, &organization.slug, &claims.user_id, role, &claims.issued_at],
        ))
    }
}
