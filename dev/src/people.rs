//! The seeded dealerships and people: the one place that says who they are.
use uuid::{Uuid, uuid};

/// A seeded dealership, which is an organization at Clerk.
#[derive(Debug, PartialEq, Eq)]
pub struct Dealership {
    /// Our id.
    pub id: Uuid,
    /// Clerk's id.
    pub clerk_org_id: &'static str,
    /// The name that `--org` takes.
    pub slug: &'static str,
    /// The name for people.
    pub name: &'static str,
    /// What it pays for.
    pub subscription_tier: &'static str,
}

/// A seeded person.
#[derive(Debug, PartialEq, Eq)]
pub struct Person {
    /// Our id.
    pub id: Uuid,
    /// Clerk's id.
    pub clerk_user_id: &'static str,
    /// The name that `--user` takes, beside the e-mail address and Clerk's id.
    pub short_name: &'static str,
    /// The given name.
    pub first_name: &'static str,
    /// The family name.
    pub last_name: &'static str,
    /// The e-mail address.
    pub email: &'static str,
}

/// A person's place at a dealership.
#[derive(Debug)]
pub struct Membership {
    /// Where.
    pub dealership: &'static Dealership,
    /// Who.
    pub person: &'static Person,
    /// As what: `admin`, `manager` or `sales_rep`.
    pub role: &'static str,
    /// Clerk's id of the membership.
    pub clerk_membership_id: &'static str,
}

/// When all of this came to be at Clerk, in milliseconds since 1970: 2026-09-21; the memberships a second after each
/// other.
pub const FOUNDED_MS: i64 = 1_789_970_400_000;

/// Tesla Oslo.
pub const TESLA_OSLO: Dealership = Dealership {
    id: uuid!("019a0000-0000-7000-8000-000000000001"),
    clerk_org_id: "org_tesla_oslo",
    slug: "tesla-oslo",
    name: "Tesla Oslo",
    subscription_tier: "professional",
};

/// VW Bergen.
pub const VW_BERGEN: Dealership = Dealership {
    id: uuid!("019a0000-0000-7000-8000-000000000002"),
    clerk_org_id: "org_vw_bergen",
    slug: "vw-bergen",
    name: "VW Bergen",
    subscription_tier: "starter",
};

/// The admin of Tesla Oslo.
pub const KARI: Person = Person {
    id: uuid!("019a0000-0000-7000-8000-000000000011"),
    clerk_user_id: "user_kari_nordmann",
    short_name: "kari",
    first_name: "Kari",
    last_name: "Nordmann",
    email: "kari.nordmann@teslaoslo.example",
};

/// The admin of VW Bergen.
pub const PER: Person = Person {
    id: uuid!("019a0000-0000-7000-8000-000000000012"),
    clerk_user_id: "user_per_hansen",
    short_name: "per",
    first_name: "Per",
    last_name: "Hansen",
    email: "per.hansen@vwbergen.example",
};

/// The manager of both.
pub const OLA: Person = Person {
    id: uuid!("019a0000-0000-7000-8000-000000000013"),
    clerk_user_id: "user_ola_berg",
    short_name: "ola",
    first_name: "Ola",
    last_name: "Berg",
    email: "ola.berg@norvalt.example",
};

/// The sales rep of both.
pub const NINA: Person = Person {
    id: uuid!("019a0000-0000-7000-8000-000000000014"),
    clerk_user_id: "user_nina_lie",
    short_name: "nina",
    first_name: "Nina",
    last_name: "Lie",
    email: "nina.lie@norvalt.example",
};

/// Both dealerships.
pub const DEALERSHIPS: [&Dealership; 2] = [&TESLA_OSLO, &VW_BERGEN];

/// All four people.
pub const PEOPLE: [&Person; 4] = [&KARI, &PER, &OLA, &NINA];

/// Who is what where; the first with a role is the one that `cargo dev token` takes for it.
pub const MEMBERSHIPS: [Membership; 6] = [
    member(&TESLA_OSLO, &KARI, "admin", "orgmem_tesla_oslo_kari"),
    member(&TESLA_OSLO, &OLA, "manager", "orgmem_tesla_oslo_ola"),
    member(&TESLA_OSLO, &NINA, "sales_rep", "orgmem_tesla_oslo_nina"),
    member(&VW_BERGEN, &PER, "admin", "orgmem_vw_bergen_per"),
    member(&VW_BERGEN, &OLA, "manager", "orgmem_vw_bergen_ola"),
    member(&VW_BERGEN, &NINA, "sales_rep", "orgmem_vw_bergen_nina"),
];

const fn member(
    dealership: &'static Dealership,
    person: &'static Person,
    role: &'static str,
    clerk_membership_id: &'static str,
) -> Membership {
    Membership { dealership, person, role, clerk_membership_id }
}

/// The seeded dealership of this slug or Clerk id.
#[must_use]
pub fn dealership(named: &str) -> Option<&'static Dealership> {
    DEALERSHIPS.into_iter().find(|dealership| [dealership.slug, dealership.clerk_org_id].contains(&named))
}

/// The seeded person of this short name, e-mail address or Clerk id.
#[must_use]
pub fn person(named: &str) -> Option<&'static Person> {
    PEOPLE.into_iter().find(|person| [person.short_name, person.email, person.clerk_user_id].contains(&named))
}
