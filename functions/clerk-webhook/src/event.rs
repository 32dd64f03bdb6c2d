//! What Clerk sends, and the change that it asks for.
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use shared::auth::Role;

/// The envelope; unknown fields are Clerk's to add.
#[derive(Deserialize)]
pub(crate) struct Event {
    pub(crate) r#type: String,
    /// Milliseconds since 1970: what orders events, never their arrival.
    pub(crate) timestamp: i64,
    pub(crate) instance_id: Option<String>,
    data: Value,
}

/// What an event changes. `at` is its timestamp.
pub(crate) enum Change {
    PutOrganization { organization: Organization, at: i64 },
    DeleteOrganization { id: String, at: i64 },
    PutUser { user: User, at: i64 },
    DeleteUser { id: String, at: i64 },
    PutMembership { membership: Membership, at: i64 },
    DeleteMembership { membership: Membership, at: i64 },
}

#[derive(Deserialize)]
pub(crate) struct Organization {
    pub(crate) id: String,
    pub(crate) name: Option<String>,
    pub(crate) slug: Option<String>,
}

/// A person, from their own event or from the copy in a membership's.
pub(crate) struct User {
    pub(crate) id: String,
    pub(crate) email: Option<String>,
    pub(crate) first_name: Option<String>,
    pub(crate) last_name: Option<String>,
}

pub(crate) struct Membership {
    pub(crate) id: String,
    pub(crate) organization: Organization,
    pub(crate) user: User,
    /// None when Clerk names none.
    pub(crate) role: Option<&'static str>,
    pub(crate) created_at: Option<i64>,
}

#[derive(Deserialize)]
struct Deleted {
    id: String,
}

#[derive(Deserialize)]
struct UserData {
    id: String,
    first_name: Option<String>,
    last_name: Option<String>,
    primary_email_address_id: Option<String>,
    email_addresses: Option<Vec<EmailAddress>>,
}

#[derive(Deserialize)]
struct EmailAddress {
    id: Option<String>,
    email_address: String,
}

#[derive(Deserialize)]
struct MembershipData {
    id: String,
    organization: Organization,
    public_user_data: PublicUserData,
    role: Option<String>,
    created_at: Option<i64>,
}

/// Its `identifier` is an e-mail address, a phone number or a user name, so it is not read.
#[derive(Deserialize)]
struct PublicUserData {
    user_id: String,
    first_name: Option<String>,
    last_name: Option<String>,
}

impl Event {
    /// None when it is no event of Clerk's.
    pub(crate) fn read(payload: &Value) -> Option<Self> {
        let event = Self::deserialize(payload).ok()?;
        (event.timestamp >= 0 && event.occurred_at().is_some()).then_some(event)
    }

    pub(crate) fn occurred_at(&self) -> Option<Timestamp> {
        Timestamp::from_millisecond(self.timestamp).ok()
    }
}

impl Change {
    /// `Ok(None)` for an event that changes nothing here.
    pub(crate) fn of(event: &Event) -> Result<Option<Self>, Malformed> {
        let at = event.timestamp;
        let change = match event.r#type.as_str() {
            "organization.created" | "organization.updated" => {
                Self::PutOrganization { organization: data(event)?, at }
            }
            "organization.deleted" => Self::DeleteOrganization { id: data::<Deleted>(event)?.id, at },
            "user.created" | "user.updated" => Self::PutUser { user: data::<UserData>(event)?.into(), at },
            "user.deleted" => Self::DeleteUser { id: data::<Deleted>(event)?.id, at },
            "organizationMembership.created" | "organizationMembership.updated" => {
                Self::PutMembership { membership: data::<MembershipData>(event)?.into(), at }
            }
            "organizationMembership.deleted" => {
                Self::DeleteMembership { membership: data::<MembershipData>(event)?.into(), at }
            }
            _ => return Ok(None),
        };
        change.has_clerks_ids().then_some(Some(change)).ok_or(Malformed)
    }

    /// The organization that it is about, if any.
    pub(crate) fn organization_id(&self) -> Option<&str> {
        match self {
            Self::PutOrganization { organization, .. } => Some(&organization.id),
            Self::DeleteOrganization { id, .. } => Some(id),
            Self::PutUser { .. } | Self::DeleteUser { .. } => None,
            Self::PutMembership { membership, .. } | Self::DeleteMembership { membership, .. } => {
                Some(&membership.organization.id)
            }
        }
    }

    /// The person that it is about, if any.
    pub(crate) fn user_id(&self) -> Option<&str> {
        match self {
            Self::PutOrganization { .. } | Self::DeleteOrganization { .. } => None,
            Self::PutUser { user, .. } => Some(&user.id),
            Self::DeleteUser { id, .. } => Some(id),
            Self::PutMembership { membership, .. } | Self::DeleteMembership { membership, .. } => {
                Some(&membership.user.id)
            }
        }
    }

    fn has_clerks_ids(&self) -> bool {
        let membership_id = match self {
            Self::PutMembership { membership, .. } | Self::DeleteMembership { membership, .. } => {
                Some(membership.id.as_str())
            }
            _ => None,
        };
        let ids = [(self.organization_id(), "org_"), (self.user_id(), "user_"), (membership_id, "orgmem_")];
        ids.into_iter().all(|(id, prefix)| id.is_none_or(|id| id.starts_with(prefix)))
    }
}

/// The data lack a field, or it is of another type.
pub(crate) struct Malformed;

fn data<T: for<'de> Deserialize<'de>>(event: &Event) -> Result<T, Malformed> {
    T::deserialize(&event.data).map_err(|_| Malformed)
}

impl From<UserData> for User {
    fn from(user: UserData) -> Self {
        let primary = user.primary_email_address_id;
        let mut emails = user.email_addresses.into_iter().flatten();
        let email = emails.find(|email| primary.is_some() && email.id == primary);
        Self {
            id: user.id,
            email: email.map(|email| email.email_address),
            first_name: user.first_name,
            last_name: user.last_name,
        }
    }
}

impl From<MembershipData> for Membership {
    fn from(membership: MembershipData) -> Self {
        let PublicUserData { user_id: id, first_name, last_name } = membership.public_user_data;
        let role = membership.role.as_deref();
        Self {
            id: membership.id,
            organization: membership.organization,
            user: User { id, email: None, first_name, last_name },
            role: Role::is_named(role).then(|| Role::from_clerk(role).as_str()),
            created_at: membership.created_at,
        }
    }
}

/// PostgreSQL's text and jsonb hold every character but NUL, and anybody can put one into their own name: no
/// reason to lose the event.
pub(crate) fn without_nul(json: Value) -> Value {
    let clean = |text: String| text.replace('\0', "\u{fffd}");
    match json {
        Value::String(text) => Value::String(clean(text)),
        Value::Array(items) => items.into_iter().map(without_nul).collect(),
        Value::Object(fields) => {
            fields.into_iter().map(|(name, value)| (clean(name), without_nul(value))).collect()
        }
        other => other,
    }
}
