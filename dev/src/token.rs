//! Session tokens for the seeded people, or for anyone else.
use anyhow::{Context, Result, bail};
use jiff::{SignedDuration, Timestamp};

use crate::clerk::{ActiveOrganization, Clerk, SessionToken};
use crate::people::{Dealership, MEMBERSHIPS, TESLA_OSLO, dealership, person};
use crate::state::{ORIGIN, State, folder};

/// A role, as our API calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Role {
    /// May do everything.
    Admin,
    /// Sees and edits every lead.
    Manager,
    /// Sees the leads assigned to them.
    SalesRep,
}

impl Role {
    /// Our name of the role.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Manager => "manager",
            Self::SalesRep => "sales_rep",
        }
    }

    /// Clerk's name of the role, as a token's `o.rol` has it.
    #[must_use]
    pub const fn clerk_name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Manager => "manager",
            Self::SalesRep => "member",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::Admin, Self::Manager, Self::SalesRep].into_iter().find(|role| role.name() == name)
    }
}

/// Whose token to make.
#[derive(Clone, Debug, clap::Args)]
pub struct TokenOf {
    /// The dealership: tesla-oslo, vw-bergen, or the id of any Clerk organization (org_...)
    #[arg(long, default_value = TESLA_OSLO.slug)]
    pub org: String,
    /// The person: kari, per, ola, nina, their e-mail address, or the id of any Clerk user (user_...)
    #[arg(long)]
    pub user: Option<String>,
    /// The role: that of the person, and admin when nothing else is said
    #[arg(long)]
    pub role: Option<Role>,
    /// How long the token lives: 90 (seconds), 10m, 1h; -60 makes an expired one. Clerk's own live 60 seconds
    #[arg(long, default_value = "1h", value_parser = lifetime, allow_hyphen_values = true)]
    pub ttl: i64,
}

/// Makes a session token that the running stack accepts.
pub fn mint(of: &TokenOf) -> Result<String> {
    let state = State::load()?;
    let clerk = Clerk::load_or_create(&folder())?;
    let seeded = dealership(&of.org);
    let (organization, slug) = match seeded {
        Some(seeded) => (seeded.clerk_org_id, seeded.slug),
        None if of.org.starts_with("org_") => (of.org.as_str(), of.org.as_str()),
        None => bail!("no dealership is called {}: take tesla-oslo, vw-bergen or an id org_...", of.org),
    };
    let (user_id, role) = who(of, seeded)?;
    Ok(clerk.session_token(&SessionToken {
        issuer: &state.clerk_issuer(),
        authorized_party: ORIGIN,
        user_id: &user_id,
        session_id: &format!("sess_{user_id}"),
        organization: Some(ActiveOrganization { id: organization, role: role.clerk_name(), slug }),
        issued_at: Timestamp::now() - SignedDuration::from_secs((-of.ttl).max(0) * 2),
        lifetime: of.ttl.abs(),
    }))
}

/// The person that was named, else the seeded one with the role; the role that was named, else the person's there.
fn who(of: &TokenOf, at: Option<&Dealership>) -> Result<(String, Role)> {
    let here = || MEMBERSHIPS.iter().filter(|member| member.dealership == at.unwrap_or(&TESLA_OSLO));
    let Some(named) = &of.user else {
        let role = of.role.unwrap_or(Role::Admin);
        let member =
            here().find(|member| member.role == role.name()).context("no member here has that role")?;
        return Ok((member.person.clerk_user_id.to_owned(), role));
    };
    let user_id = match person(named) {
        Some(person) => person.clerk_user_id.to_owned(),
        None if named.starts_with("user_") => named.clone(),
        None => bail!(
            "no person is called {named}: take kari, per, ola, nina, an e-mail address of theirs or an id user_..."
        ),
    };
    let member = here().find(|member| member.person.clerk_user_id == user_id);
    let role = of.role.or_else(|| Role::named(member?.role)).unwrap_or(Role::Admin);
    Ok((user_id, role))
}

fn lifetime(text: &str) -> Result<i64> {
    if let Ok(seconds) = text.parse() {
        return Ok(seconds);
    }
    let duration: SignedDuration = text.parse().context("say 90, 10m or 1h")?;
    Ok(duration.as_secs())
}
