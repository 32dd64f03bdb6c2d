//! An endpoint's name and path, its callers, and how it is deployed.
use crate::db::{Login, NamedSql};
use crate::error::Constraint;

/// The API's timeout for a route that names no other, in seconds.
const TIMEOUT_SECONDS: u16 = 10;

/// One endpoint. Router, stacks, the table of routes and the tests are made of it.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// Folder, package, binary, event and test.
    pub name: &'static str,
    /// The HTTP method.
    pub method: &'static str,
    /// The path, parameters in braces.
    pub path: &'static str,
    /// The database user it logs in as.
    pub login: Login,
    /// Who may call it.
    pub caller: Caller,
    /// How AWS reaches it.
    pub front: Front,
    /// How long one invocation may take, in seconds.
    pub timeout_seconds: u16,
    /// The settings that it reads beside its login's and, for members, Clerk's; the names of `.env.example`.
    pub settings: &'static [&'static str],
    /// The constraints that its statements can break, with the answers.
    pub constraints: &'static [&'static [Constraint]],
    /// Every statement that it runs.
    pub statements: &'static [&'static [NamedSql]],
    /// Network flushes that a warm request waits for, its event's in `events/`.
    pub flushes: u64,
}

impl Route {
    /// What most routes are, for all that a route does not say: a member's, on the API, one flush.
    pub const DEFAULT: Self = Self {
        name: "",
        method: "GET",
        path: "",
        login: Login::Reader,
        caller: Caller::Member,
        front: Front::Api,
        timeout_seconds: TIMEOUT_SECONDS,
        settings: &[],
        constraints: &[],
        statements: &[],
        flushes: 1,
    };
}

/// Who a route answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A member of a dealership, with a Clerk session token.
    Member,
    /// Anybody, or a peer who signs its requests.
    Public,
}

/// How AWS reaches a route's function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Front {
    /// The frontends' API: API Gateway answers preflights by the API's CORS settings.
    Api,
    /// The public forms' API: its functions answer preflights, since each dealership has its own origins.
    FormApi,
    /// A function URL of its own.
    Url,
    /// A streaming function URL of its own: API Gateway would buffer the whole answer, and refuse more than 6 MB.
    StreamingUrl,
}
