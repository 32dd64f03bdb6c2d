//! A model of Clerk: organizations, people and memberships that change, and a message about every change.
use std::collections::BTreeMap;

use dev::clerk::backend::{self, Directory};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

/// Few, so that a history changes the same ones again and again.
const ORGANIZATIONS: usize = 2;
const PEOPLE: usize = 3;
/// As Clerk spells them; the last two name no role.
const ROLES: [Option<&str>; 5] =
    [Some("org:admin"), Some("org:manager"), Some("org:member"), Some("basic_member"), None];

/// A change at Clerk. One that is impossible at its time is skipped.
#[derive(Clone, Debug)]
pub enum Step {
    PutOrganization(usize),
    DeleteOrganization(usize, bool),
    PutUser(usize),
    /// With whether Clerk sends a message about each membership that ends with it.
    DeleteUser(usize, bool),
    /// A person joins, or gets another role.
    PutMembership(usize, usize, Option<&'static str>),
    DeleteMembership(usize, usize),
    /// A member gets a session token, which may be used at any time.
    SignIn(usize, usize),
}

pub fn steps() -> impl Strategy<Value = Step> {
    let (organization, person) = (0..ORGANIZATIONS, 0..PEOPLE);
    let pair = (organization.clone(), person.clone());
    prop_oneof![
        2 => organization.clone().prop_map(Step::PutOrganization),
        1 => (organization, prop::bool::weighted(0.5)).prop_map(|(o, announced)| Step::DeleteOrganization(o, announced)),
        2 => person.clone().prop_map(Step::PutUser),
        1 => (person, any::<bool>()).prop_map(|(u, announced)| Step::DeleteUser(u, announced)),
        8 => (pair.clone(), select(&ROLES[..])).prop_map(|((o, u), role)| Step::PutMembership(o, u, role)),
        6 => pair.clone().prop_map(|(o, u)| Step::DeleteMembership(o, u)),
        6 => pair.prop_map(|(o, u)| Step::SignIn(o, u)),
    ]
}

/// What we get of a step.
#[derive(Clone, Debug)]
pub enum Happening {
    Message(Value),
    Token(Token),
}

#[derive(Clone, Debug)]
pub struct Token {
    pub organization: String,
    pub user: String,
    pub role: &'static str,
    /// In ms; the token itself has whole seconds.
    pub at: i64,
}

/// An organization or a person.
#[derive(Clone, Default)]
struct Named {
    name: String,
    exists: bool,
    deleted: bool,
    updated_at: i64,
}

#[derive(Clone)]
struct Membership {
    id: String,
    role: Option<&'static str>,
    created_at: i64,
    updated_at: i64,
}

pub struct Clerk {
    /// In every id of this history.
    pub prefix: String,
    now: i64,
    organizations: [Named; ORGANIZATIONS],
    people: [Named; PEOPLE],
    memberships: BTreeMap<(usize, usize), Membership>,
    /// The first member of each organization, who is its admin unless Clerk names a role.
    first: BTreeMap<usize, usize>,
    /// When each membership with a message was made, by Clerk's ids of its organization and person.
    announced: BTreeMap<(String, String), i64>,
}

impl Clerk {
    pub fn new(prefix: String, now: i64) -> Self {
        let (organizations, people) = Default::default();
        let (memberships, first, announced) = Default::default();
        Self { prefix, now, organizations, people, memberships, first, announced }
    }

    /// Takes a step, `gap` ms after the one before it.
    pub fn take(&mut self, step: &Step, gap: i64) -> Vec<Happening> {
        self.now += gap;
        match *step {
            Step::PutOrganization(o) => self.put_organization(o),
            Step::PutUser(u) => self.put_user(u),
            Step::DeleteOrganization(o, announced) => {
                if !self.organizations[o].exists || self.organizations[o].deleted {
                    return Vec::new();
                }
                self.organizations[o].deleted = true;
                let message =
                    self.message("organization.deleted", json!({ "deleted": true, "id": self.org(o) }));
                let mut messages = vec![message];
                if announced {
                    for u in 0..PEOPLE {
                        messages.extend(self.delete_membership(o, u));
                    }
                }
                messages
            }
            Step::DeleteUser(u, announced) => {
                if !self.people[u].exists || self.people[u].deleted {
                    return Vec::new();
                }
                let message = self.message("user.deleted", json!({ "deleted": true, "id": self.user(u) }));
                let mut messages = vec![message];
                for o in 0..ORGANIZATIONS {
                    let message = self.delete_membership(o, u);
                    messages.extend(message.filter(|_| announced));
                }
                self.people[u].deleted = true;
                messages
            }
            Step::PutMembership(o, u, role) => self.put_membership(o, u, role),
            Step::DeleteMembership(o, u) => self.delete_membership(o, u).into_iter().collect(),
            Step::SignIn(o, u) => match self.memberships.get(&(o, u)) {
                Some(membership) if !self.organizations[o].deleted => {
                    let role = membership.role.unwrap_or_default();
                    let role = role.strip_prefix("org:").unwrap_or(role);
                    vec![Happening::Token(Token {
                        organization: self.org(o),
                        user: self.user(u),
                        role,
                        at: self.now,
                    })]
                }
                _ => Vec::new(),
            },
        }
    }

    /// Records that this one arrives at least once.
    pub fn announce(&mut self, happening: &Happening) {
        let Happening::Message(body) = happening else { return };
        let data = &body["data"];
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let ids = (text(&data["organization"]["id"]), text(&data["public_user_data"]["user_id"]));
        if let ((Some(organization), Some(user)), Some(at)) = (ids, data["created_at"].as_i64()) {
            let announced = self.announced.entry((organization, user)).or_insert(at);
            *announced = at.min(*announced);
        }
    }

    /// The rows that our database should have: organizations and people by name, and the memberships that last.
    pub fn rows(&self) -> BTreeMap<String, String> {
        self.rows_with(|o| self.first.get(&o).copied())
    }

    /// The same from the messages that arrived and Clerk's state at the end: a person who joined and left without a
    /// message is never the first member.
    pub fn rows_as_announced(&self) -> BTreeMap<String, String> {
        self.rows_with(|o| {
            let joined = |u: &usize| {
                let announced = self.announced.get(&(self.org(o), self.user(*u))).copied();
                let living = self.memberships.get(&(o, *u)).map(|membership| membership.created_at);
                announced.into_iter().chain(living).min()
            };
            (0..PEOPLE).filter(|u| joined(u).is_some()).min_by_key(|u| (joined(u), self.user(*u)))
        })
    }

    /// The state at the end, as the Backend API has it.
    pub fn directory(&self) -> Directory {
        let mut directory = Directory::default();
        for (o, it) in self.organizations.iter().enumerate().filter(|(_, it)| it.exists && !it.deleted) {
            directory.organizations.push(backend::organization(&self.org(o), &it.name, None, it.updated_at));
        }
        for (u, it) in self.people.iter().enumerate().filter(|(_, it)| it.exists && !it.deleted) {
            let email = format!("{}@example.com", it.name);
            directory.users.push(backend::user(&self.user(u), &it.name, None, &email, it.updated_at));
        }
        for ((o, u), membership) in &self.memberships {
            let count = directory.memberships.len();
            let (organization, user) = (self.org(*o), self.user(*u));
            directory.join(&membership.id, &organization, &user, membership.role, membership.created_at);
            if let Some(joined) = directory.memberships.get_mut(count) {
                joined["updated_at"] = json!(membership.updated_at);
            }
        }
        directory
    }

    /// Clerk's ids of the organizations and people that were deleted.
    pub fn deleted_ids(&self) -> Vec<String> {
        let organizations = self.organizations.iter().enumerate().filter(|(_, it)| it.deleted);
        let people = self.people.iter().enumerate().filter(|(_, it)| it.deleted);
        organizations.map(|(o, _)| self.org(o)).chain(people.map(|(u, _)| self.user(u))).collect()
    }

    fn rows_with(&self, first: impl Fn(usize) -> Option<usize>) -> BTreeMap<String, String> {
        let mut rows = BTreeMap::new();
        for (o, organization) in self.organizations.iter().enumerate().filter(|(_, it)| it.exists) {
            let deleted = if organization.deleted { " deleted" } else { "" };
            rows.insert(self.org(o), format!("{}{deleted}", organization.name));
        }
        for (u, person) in self.people.iter().enumerate().filter(|(_, it)| it.exists) {
            let name = &person.name;
            let row =
                if person.deleted { "deleted".to_owned() } else { format!("{name} {name}@example.com") };
            rows.insert(self.user(u), row);
        }
        for ((o, u), membership) in &self.memberships {
            let role = match membership.role {
                Some("org:admin") => "admin",
                Some("org:manager") => "manager",
                Some("org:member") => "sales_rep",
                _ if first(*o) == Some(*u) => "admin",
                _ => "sales_rep",
            };
            rows.insert(format!("{} {}", self.org(*o), self.user(*u)), format!("{} {role}", membership.id));
        }
        rows
    }

    /// Of all organizations, made or not.
    pub fn organization_ids(&self) -> Vec<String> {
        (0..ORGANIZATIONS).map(|o| self.org(o)).collect()
    }

    pub fn user_ids(&self) -> Vec<String> {
        (0..PEOPLE).map(|u| self.user(u)).collect()
    }

    fn org(&self, o: usize) -> String {
        format!("org_{}x{o}", self.prefix)
    }

    fn user(&self, u: usize) -> String {
        format!("user_{}x{u}", self.prefix)
    }

    /// A message, later than the one before it.
    fn message(&mut self, r#type: &str, data: Value) -> Happening {
        self.now += 1;
        Happening::Message(json!({ "object": "event", "type": r#type, "timestamp": self.now, "data": data }))
    }

    fn put_organization(&mut self, o: usize) -> Vec<Happening> {
        if self.organizations[o].deleted {
            return Vec::new();
        }
        let name = format!("Name{}", self.now);
        let made = !std::mem::replace(&mut self.organizations[o].exists, true);
        self.organizations[o].name.clone_from(&name);
        self.organizations[o].updated_at = self.now;
        let r#type = if made { "organization.created" } else { "organization.updated" };
        vec![self.message(r#type, json!({ "id": self.org(o), "name": name, "slug": null }))]
    }

    fn put_user(&mut self, u: usize) -> Vec<Happening> {
        if self.people[u].deleted {
            return Vec::new();
        }
        let name = format!("Name{}", self.now);
        let made = !std::mem::replace(&mut self.people[u].exists, true);
        self.people[u].name.clone_from(&name);
        self.people[u].updated_at = self.now;
        let r#type = if made { "user.created" } else { "user.updated" };
        let data = json!({
            "id": self.user(u),
            "first_name": name,
            "last_name": null,
            "primary_email_address_id": "idn_2",
            "email_addresses": [
                { "id": "idn_1", "email_address": "another@example.com" },
                { "id": "idn_2", "email_address": format!("{name}@example.com") },
            ],
        });
        vec![self.message(r#type, data)]
    }

    /// Makes the organization and the person first, if they are not there.
    fn put_membership(&mut self, o: usize, u: usize, role: Option<&'static str>) -> Vec<Happening> {
        if self.organizations[o].deleted || self.people[u].deleted {
            return Vec::new();
        }
        let mut messages = Vec::new();
        if !self.organizations[o].exists {
            messages.extend(self.put_organization(o));
        }
        if !self.people[u].exists {
            messages.extend(self.put_user(u));
        }
        let id = format!("orgmem_{}x{}", self.prefix, self.now);
        let made = Membership { id, role, created_at: self.now, updated_at: self.now };
        let joins = !self.memberships.contains_key(&(o, u));
        let membership = self.memberships.entry((o, u)).or_insert(made);
        membership.role = role;
        membership.updated_at = self.now;
        let membership = membership.clone();
        self.first.entry(o).or_insert(u);
        let r#type = if joins { "organizationMembership.created" } else { "organizationMembership.updated" };
        let data = self.membership_data(o, u, &membership);
        messages.push(self.message(r#type, data));
        messages
    }

    fn delete_membership(&mut self, o: usize, u: usize) -> Option<Happening> {
        let membership = self.memberships.remove(&(o, u))?;
        let data = self.membership_data(o, u, &membership);
        Some(self.message("organizationMembership.deleted", data))
    }

    fn membership_data(&self, o: usize, u: usize, membership: &Membership) -> Value {
        json!({
            "id": membership.id,
            "role": membership.role,
            "created_at": membership.created_at,
            "organization": { "id": self.org(o), "name": self.organizations[o].name, "slug": null },
            "public_user_data": {
                "user_id": self.user(u),
                "first_name": self.people[u].name,
                "last_name": null,
                "identifier": "not-an-address",
            },
        })
    }
}
