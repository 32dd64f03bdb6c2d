//! The claims of a token, after its signature was verified.
use serde::Deserialize;
use serde_json::Value;

use super::custom_permissions;
use super::error::Rejection;
use super::permissions::Role;
use super::token::{Object, object, present};
use super::{Claims, Organization};

/// How far Clerk's clock and ours may differ, in seconds: the skew of Clerk's own SDKs, for every time.
const CLOCK_SKEW_SECONDS: i64 = 5;

/// The last time a claim may name: the end of the year 9999, in seconds since 1970.
const MAX_SECONDS: u64 = 253_402_300_799;

/// The longest Clerk id, in bytes; real ones have about 32.
const MAX_ID_BYTES: usize = 128;

/// The configured values that a token must have.
pub(super) struct Expected {
    pub(super) issuer: String,
    pub(super) authorized_parties: Vec<String>,
}

/// The claims that are read. Others are ignored, `aud` too: session tokens document none.
#[derive(Deserialize)]
struct Payload {
    #[serde(default, deserialize_with = "present")]
    iss: Option<String>,
    #[serde(default, deserialize_with = "present")]
    sub: Option<String>,
    #[serde(default, deserialize_with = "present")]
    sid: Option<String>,
    #[serde(default, deserialize_with = "present")]
    azp: Option<String>,
    exp: Seconds,
    iat: Seconds,
    #[serde(default, deserialize_with = "present")]
    nbf: Option<Seconds>,
    #[serde(default, deserialize_with = "present")]
    sts: Option<String>,
    act: Option<Object<Actor>>,
    /// 2 in version 2. With any other value, or none, the token is of version 1.
    v: Option<Value>,
    /// The organization, version 2.
    o: Option<Object<OrganizationV2>>,
    /// The organization, version 1.
    org_id: Option<String>,
    org_slug: Option<String>,
    org_role: Option<String>,
}

/// Seconds since 1970. A string, a fraction, a negative or an absurd number is an error; it does not count as absent.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "u64")]
struct Seconds(i64);

/// The person who impersonates the user.
#[derive(Deserialize)]
struct Actor {
    sub: String,
}

#[derive(Deserialize)]
struct OrganizationV2 {
    id: Option<String>,
    slg: Option<String>,
    rol: Option<String>,
}

impl TryFrom<u64> for Seconds {
    type Error = String;

    fn try_from(seconds: u64) -> Result<Self, Self::Error> {
        match i64::try_from(seconds) {
            Ok(time) if seconds <= MAX_SECONDS => Ok(Self(time)),
            _ => Err("beyond the year 9999".to_owned()),
        }
    }
}

/// Checks a verified payload at `now`, in seconds since 1970.
pub(super) fn check(json: &[u8], expected: &Expected, now: i64) -> Result<Claims, Rejection> {
    let payload: Payload = object(json)?;
    if payload.iss.as_ref() != Some(&expected.issuer) {
        return Err(Rejection::Issuer);
    }
    let user_id = id(payload.sub.as_deref(), "user_").ok_or(Rejection::Subject)?;
    // Template tokens have no session and outlive a sign-out.
    id(payload.sid.as_deref(), "sess_").ok_or(Rejection::Session)?;
    if !payload.azp.as_ref().is_some_and(|azp| expected.authorized_parties.contains(azp)) {
        return Err(Rejection::AuthorizedParty);
    }
    payload.check_times(now)?;
    if payload.sts.as_deref().is_some_and(|status| status != "active") {
        return Err(Rejection::Status);
    }
    Ok(Claims {
        user_id,
        issued_at: payload.iat.0,
        organization: payload.organization(json)?,
        actor: payload.actor()?,
    })
}

impl Payload {
    fn check_times(&self, now: i64) -> Result<(), Rejection> {
        if now >= self.exp.0 + CLOCK_SKEW_SECONDS {
            return Err(Rejection::Expired);
        }
        if self.nbf.is_some_and(|nbf| nbf.0 > now + CLOCK_SKEW_SECONDS) {
            return Err(Rejection::NotActiveYet);
        }
        if self.iat.0 > now + CLOCK_SKEW_SECONDS {
            return Err(Rejection::IssuedInFuture);
        }
        Ok(())
    }

    /// The active organization: `o` in version 2, `org_*` in version 1, never a mixture.
    fn organization(&self, json: &[u8]) -> Result<Option<Organization>, Rejection> {
        let (org_id, slug, role, custom_permissions) = if self.v.as_ref().and_then(Value::as_u64) == Some(2) {
            let Some(Object(o)) = &self.o else { return Ok(None) };
            (&o.id, &o.slg, &o.rol, custom_permissions::version_2(json))
        } else {
            if self.org_id.is_none() {
                return Ok(None);
            }
            (&self.org_id, &self.org_slug, &self.org_role, custom_permissions::version_1(json))
        };
        Ok(Some(Organization {
            id: id(org_id.as_deref(), "org_").ok_or(Rejection::Organization)?,
            slug: slug.clone(),
            role: Role::from_clerk(role.as_deref()),
            custom_permissions,
            names_role: Role::is_named(role.as_deref()),
        }))
    }

    /// An impersonation must name its actor, or it could not be audited.
    fn actor(&self) -> Result<Option<String>, Rejection> {
        match &self.act {
            None => Ok(None),
            Some(Object(actor)) if actor.sub.is_empty() => Err(Rejection::Malformed),
            Some(Object(actor)) => Ok(Some(actor.sub.clone())),
        }
    }
}

/// Reads a Clerk id: the prefix, then letters, digits, underscores and hyphens.
fn id(value: Option<&str>, prefix: &str) -> Option<String> {
    let value = value?;
    let rest = value.strip_prefix(prefix)?;
    let plain = rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    (plain && !rest.is_empty() && value.len() <= MAX_ID_BYTES).then(|| value.to_owned())
}
