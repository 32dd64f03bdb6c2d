//! Clerk's events and objects, and the changes that they ask for.
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use shared::auth::Role;

/// The envelope of a webhook. Clerk may add unknown fields.
#[derive(Deserialize)]
pub struct Event {
    /// Such as `user.created`.
    pub r#type: String,
    /// Milliseconds since 1970. It orders events; their arrival does not.
    pub timestamp: i64,
    /// The Clerk instance that sent it, `ins_…`.
    pub instance_id: Option<String>,
    data: Value,
}

/// A change of our rows. `at` is its time by Clerk's clock, in milliseconds since 1970: an event's timestamp, or an
/// object's own `updated_at`, which is not newer than any event about it.
pub enum Change {
    /// An organization exists.
    PutOrganization {
        /// The organization.
        organization: Organization,
        /// The time of the change.
        at: i64,
    },
    /// An organization no longer exists.
    DeleteOrganization {
        /// Starting `org_`.
        id: String,
        /// The time of the change.
        at: i64,
    },
    /// A person exists.
    PutUser {
        /// The person.
        user: User,
        /// The time of the change.
        at: i64,
    },
    /// A person no longer exists.
    DeleteUser {
        /// Starting `user_`.
        id: String,
        /// The time of the change.
        at: i64,
    },
    /// A person is a member.
    PutMembership {
        /// The membership.
        membership: Membership,
        /// The time of the change.
        at: i64,
    },
    /// A person is no longer a member.
    DeleteMembership {
        /// The membership.
        membership: Membership,
        /// The time of the change.
        at: i64,
    },
}

/// An organization, from its own object or from the copy in a membership.
#[derive(Deserialize)]
pub struct Organization {
    /// Starting `org_`.
    pub id: String,
    /// `None` only in a copy, which is then ignored.
    pub name: Option<String>,
    /// `None` if the instance has no slugs.
    pub slug: Option<String>,
}

/// A person, from their own object or from the copy in a membership.
pub struct User {
    /// Starting `user_`.
    pub id: String,
    /// The primary address; a copy never has it.
    pub email: Option<String>,
    /// The given name.
    pub first_name: Option<String>,
    /// The family name.
    pub last_name: Option<String>,
}

/// A person's place in an organization.
pub struct Membership {
    /// Starting `orgmem_`. `None` only when ending a membership that we know from a session token, which has no id.
    pub id: Option<String>,
    /// The organization.
    pub organization: Organization,
    /// The person.
    pub user: User,
    /// The role in the database's spelling; `None` when Clerk names no role.
    pub role: Option<&'static str>,
    /// When Clerk created it, in milliseconds since 1970.
    pub created_at: Option<i64>,
}

/// The kinds of objects in Clerk's Backend API. Their JSON is that of a webhook's `data`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    /// Of `/organizations`.
    Organization,
    /// Of `/users`.
    User,
    /// Of `/organization_memberships`.
    Membership,
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

#[derive(Deserialize)]
struct Updated {
    updated_at: i64,
}

impl Event {
    /// `None` when the payload is not an event of Clerk's.
    #[must_use]
    pub fn read(payload: &Value) -> Option<Self> {
        let event = Self::deserialize(payload).ok()?;
        is_time(event.timestamp).then_some(event)
    }

    /// Its timestamp.
    #[must_use]
    pub fn occurred_at(&self) -> Option<Timestamp> {
        Timestamp::from_millisecond(self.timestamp).ok()
    }
}

impl Change {
    /// The change that an event asks for; `Ok(None)` if none.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn of(event: &Event) -> Result<Option<Self>, Malformed> {
        let at = event.timestamp;
        let change = match event.r#type.as_str() {
            "organization.created" | "organization.updated" => {
                Self::PutOrganization { organization: data(&event.data)?, at }
            }
            "organization.deleted" => Self::DeleteOrganization { id: data::<Deleted>(&event.data)?.id, at },
            "user.created" | "user.updated" => {
                Self::PutUser { user: data::<UserData>(&event.data)?.into(), at }
            }
            "user.deleted" => Self::DeleteUser { id: data::<Deleted>(&event.data)?.id, at },
            "organizationMembership.created" | "organizationMembership.updated" => {
                Self::PutMembership { membership: data::<MembershipData>(&event.data)?.into(), at }
            }
            "organizationMembership.deleted" => {
                Self::DeleteMembership { membership: data::<MembershipData>(&event.data)?.into(), at }
            }
            _ => return Ok(None),
        };
        change.has_clerks_ids().then_some(Some(change)).ok_or(Malformed)
    }

    /// The change that an object of the Backend API asks for, as of its own `updated_at`. That time is exact: an
    /// outdated answer is older than the events that it lacks.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn put(object: Object, json: &Value) -> Result<Self, Malformed> {
        let at = data::<Updated>(json)?.updated_at;
        let change = match object {
            Object::Organization => Self::PutOrganization { organization: data(json)?, at },
            Object::User => Self::PutUser { user: data::<UserData>(json)?.into(), at },
            Object::Membership => {
                Self::PutMembership { membership: data::<MembershipData>(json)?.into(), at }
            }
        };
        (is_time(at) && change.has_clerks_ids()).then_some(change).ok_or(Malformed)
    }

    /// The id of the organization that it is about, if any.
    #[must_use]
    pub fn organization_id(&self) -> Option<&str> {
        match self {
            Self::PutOrganization { organization, .. } => Some(&organization.id),
            Self::DeleteOrganization { id, .. } => Some(id),
            Self::PutUser { .. } | Self::DeleteUser { .. } => None,
            Self::PutMembership { membership, .. } | Self::DeleteMembership { membership, .. } => {
                Some(&membership.organization.id)
            }
        }
    }

    /// The id of the person that it is about, if any.
    #[must_use]
    pub fn user_id(&self) -> Option<&str> {
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
                membership.id.as_deref()
            }
            _ => None,
        };
        let ids = [(self.organization_id(), "org_"), (self.user_id(), "user_"), (membership_id, "orgmem_")];
        ids.into_iter().all(|(id, prefix)| id.is_none_or(|id| id.starts_with(prefix)))
    }
}

/// A field is missing or has another type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

fn data<T: for<'de> Deserialize<'de>>(json: &Value) -> Result<T, Malformed> {
    T::deserialize(json).map_err(|_| Malformed)
}

/// Whether a number of milliseconds since 1970 is a valid time.
fn is_time(milliseconds: i64) -> bool {
    milliseconds >= 0 && Timestamp::from_millisecond(milliseconds).is_ok()
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
            id: Some(membership.id),
            organization: membership.organization,
            user: User { id, email: None, first_name, last_name },
            role: Role::is_named(role).then(|| Role::from_clerk(role).as_str()),
            created_at: membership.created_at,
        }
    }
}

/// Replaces NUL, the one character that PostgreSQL's text and jsonb cannot hold: a person may have it in their name,
/// and the event must not be lost for it.
#[must_use]
pub fn without_nul(json: Value) -> Value {
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
